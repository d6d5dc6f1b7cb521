// What follows an optimizer's step: the soft threshold of an L1 penalty, and the largest norm of a weight's rows.
#include <float.h>
#include <math.h>

#include "kernels.h"
#include "parallel.h"
#include "segments.h"
#include "simd.h"

namespace MINIDL_TARGET {

namespace {

// ---- soft threshold: forward-backward splitting (Duchi and Singer 2009)

// w - min(max(w, -t), t): 0 and not -0 below the threshold, and nan stays nan.
template <typename T>
SIMD_INLINE Vec<T> shrunk(Vec<T> w, T threshold) {
  return w - min(Vec<T>(threshold), max(Vec<T>(-threshold), w));
}

template <typename T>
void soft_threshold(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double l1_decay) {
  const T threshold = T(schedule[0] * l1_decay);
  share_segments(stream, segments, count, 16384, [=](const Segment<T>& segment, int64_t from, int64_t to) {
    constexpr int width = Vec<T>::width;
    T* param = segment.param;
    int64_t i = from;
    for (; i + width <= to; i += width) store(param + i, shrunk(load(param + i), threshold));
    const int rest = (int)(to - i);
    if (rest > 0) store_partial(param + i, shrunk(load_partial(param + i, rest), threshold), rest);
  });
}

// ---- largest norm of a row: Srivastava 2014, section 5.1

template <typename T>
void limit_row_norm(T* row, int64_t columns, double max_norm) {
  const double norm = ::sqrt(sum_of_squares(row, columns));
  if (!(norm > max_norm) || norm > DBL_MAX) return;
  // The factor and each product round up by half an epsilon at most: 1.5 epsilons less, and no norm is beyond.
  constexpr double epsilon = sizeof(T) == 4 ? FLT_EPSILON : DBL_EPSILON;
  const T scale = T(max_norm / norm * (1 - 1.5 * epsilon));
  for (int64_t i = 0; i < columns; ++i) row[i] *= scale;
}

template <typename T>
void limit_row_norms(Stream stream, const Matrix<T>* matrices, int64_t count, double max_norm) {
  int64_t total = 0;
  for (int64_t m = 0; m < count; ++m) total += matrices[m].rows * matrices[m].columns;
  // A thread takes the rows that begin in its share of all elements.
  parallel_for(stream, total, 8192, [=](int64_t begin, int64_t end) {
    int64_t first = 0;
    for (int64_t m = 0; m < count && first < end; ++m) {
      const Matrix<T> matrix = matrices[m];
      const int64_t columns = matrix.columns, size = matrix.rows * columns;
      const int64_t from = begin > first ? begin - first : 0, to = end - first < size ? end - first : size;
      for (int64_t i = columns > 0 ? (from + columns - 1) / columns * columns : to; i < to; i += columns)
        limit_row_norm(matrix.weight + i, columns, max_norm);
      first += size;
    }
  });
}

}  // namespace
EXPORT(soft_threshold)
EXPORT(limit_row_norms)

}  // namespace MINIDL_TARGET
