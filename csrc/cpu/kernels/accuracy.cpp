// How many rows of logits are classified right, and a log of such counts and losses.
#include "best.h"
#include "kernels.h"
#include "parallel.h"
#include "rows.h"
#include "simd.h"

namespace MINIDL_TARGET {

namespace {

// Every logit before the label must be smaller, every one after it at most equal; nan, which wins, is neither.
template <typename T>
bool is_correct(const T* logits, int64_t label, int64_t classes) {
  if (label < 0 || label >= classes) return false;
  T own = logits[label];
  bool is_nan = own != own, is_first = true;
  for (int64_t c = 0; c < label; ++c) is_first &= is_nan ? logits[c] == logits[c] : logits[c] < own;
  for (int64_t c = label + 1; c < classes; ++c) is_first &= is_nan || logits[c] <= own;
  return is_first;
}

// Of short rows, as many at a time as there are lanes: where the label is does not decide what is done.
template <typename T>
int64_t count_correct_short(const T* logits, const int64_t* labels, int64_t begin, int64_t end, int64_t classes) {
  using I = IntegerLike<T>;
  Vec<I> count{};
  for_short_rows<T>(begin, end, classes, logits, nullptr, nullptr, [&](auto rows, const T* x, const T*, T*) {
    const auto label = rows.columns_from(labels);
    count += select(best_of_rows<Greater>(rows, x).index == label, Vec<I>((I)1), Vec<I>{});
  });
  return sum_lanes(count);
}

template <typename T>
void count_correct(Stream stream, const T* logits, const int64_t* labels, int64_t* out, int64_t rows, int64_t classes) {
  *out = 0;
  const bool is_short = classes > 0 && classes <= ShortRows<T>::max_columns;
  parallel_for(
      stream, rows, 65536 / (classes > 0 ? classes : 1),
      [=](int64_t begin, int64_t end) {
        int64_t count = 0;
        if (is_short)
          count = count_correct_short(logits, labels, begin, end, classes);
        else
          for (int64_t row = begin; row < end; ++row) count += is_correct(logits + row * classes, labels[row], classes);
        __atomic_fetch_add(out, count, __ATOMIC_RELAXED);
      },
      is_short ? Vec<T>::width : 1);
}

template <typename T>
void append_result(Stream, const T* loss, const int64_t* correct, double* log, int64_t rows) {
  double* row = log + 1 + (int64_t)log[0] % rows * 2;
  row[0] = loss[0];
  row[1] = correct ? (double)correct[0] : -1;
  log[0] += 1;
}

}  // namespace

EXPORT(count_correct)
EXPORT(append_result)

}  // namespace MINIDL_TARGET
