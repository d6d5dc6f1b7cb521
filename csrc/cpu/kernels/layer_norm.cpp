// Layer norm over rows x columns, forward and backward.
#include <string.h>

#include "bands.h"
#include "kernels.h"
#include "moments.h"
#include "pairwise.h"
#include "parallel.h"
#include "simd.h"
#include "tall_columns.h"

namespace MINIDL_TARGET {

namespace {

template <typename T>
void layer_norm_forward(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* inv_std,
                        int64_t rows, int64_t columns, double eps) {
  if (columns == 0) return;
  const bool is_streamed = rows * columns * (int64_t)sizeof(T) >= streamed_bytes && x != out;
  parallel_for(
      stream, rows, grain_of(columns),
      [=](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
          T shift = shift_from(x[row * columns]);
          Moments moments = row_moments(x, row * columns, (row + 1) * columns, shift);
          mean[row] = (T)(shift + moments.mean);
          inv_std[row] = (T)(1 / __builtin_sqrt(moments.squares / columns + eps));
          Vec<T> center(mean[row]), scale(inv_std[row]);
          const T* from = x + row * columns;
          T* to = out + row * columns;
          for_vectors<ahead_of_one>(is_streamed, to, 0, columns, [=](auto at) {
            Vec<T> normal = (at(from) - center) * scale;
            at.store(to, fma(normal, value_or(weight, cached(at), T(1)), value_or(bias, cached(at), T(0))));
          });
        }
        native_finish_streams();
      },
      1);
}

template <typename T>
struct LayerNormRows {
  const T *x, *weight, *mean, *inv_std, *grad_out;
  T* grad_x;
  int64_t columns;
  bool is_streamed;

  struct Means {
    T level, slope;
  };
  SIMD_INLINE Means means_of(int64_t row) const {
    const Vec<T> center(mean[row]), scale(inv_std[row]);
    auto sums = sum_row_lanes<T, 2>(0, columns, [=, this](auto at, Vec<T>* sum) {
      Vec<T> h = gradient(row, at);
      sum[0] += h;
      sum[1] = fma(h, (at(x + row * columns) - center) * scale, sum[1]);
    });
    return {sum_lanes(sums.v[0]) / (T)columns, sum_lanes(sums.v[1]) / (T)columns};
  }
  SIMD_INLINE void write(int64_t row, Means means) const {
    const Vec<T> center(mean[row]), scale(inv_std[row]), level(means.level), slope(means.slope);
    T* to = grad_x + row * columns;
    for_vectors(is_streamed, to, 0, columns, [=, this](auto at) {
      at.store(to, scale * (gradient(row, at) - level - (at(x + row * columns) - center) * scale * slope));
    });
  }
  template <typename Place>
  SIMD_INLINE Vec<T> gradient(int64_t row, Place at) const {
    return at(grad_out + row * columns) * value_or(weight, cached(at), T(1));
  }

  // grad_x of the rows [first, last). Beyond the caches the means of four rows are taken before the first is written: a
  // store past the caches that waits for them holds up what is read for the next row (49152 x 256 on one thread of a
  // Zen 5: 8.2 -> 5.4 ms).
  void write_all(int64_t first, int64_t last) const {
    constexpr int64_t group = 4;
    int64_t row = first;
    for (; is_streamed && row + group <= last; row += group) {
      Means means[group];
      for (int64_t i = 0; i < group; ++i) means[i] = means_of(row + i);
      for (int64_t i = 0; i < group; ++i) write(row + i, means[i]);
    }
    for (; row < last; ++row) write(row, means_of(row));
    native_finish_streams();
  }
};

template <typename T>
void layer_norm_backward(Stream stream, const T* x, const T* weight, const T* mean, const T* inv_std, const T* grad_out,
                         T* grad_x, T* grad_weight, T* grad_bias, int64_t rows, int64_t columns) {
  const bool is_streamed = rows * columns * (int64_t)sizeof(T) >= streamed_bytes;
  const LayerNormRows<T> each{x, weight, mean, inv_std, grad_out, grad_x, columns, is_streamed};
  auto write_rows = [=](int64_t first, int64_t last) { each.write_all(first, last); };
  const bool has_sums = grad_weight || grad_bias, has_chunks = is_tall<T>(rows, columns);
  // The rows of a tall matrix are written while they are in cache for their sums.
  const bool writes_beside_sums = grad_x && has_sums && has_chunks && columns <= band_columns;
  if (grad_x && !writes_beside_sums) parallel_for(stream, rows, grain_of(columns), write_rows, 1);
  if (!has_sums) return;
  auto sum = [=](Band band, int64_t begin, int64_t end, BandSums<T, 2>& sums) {
    auto term = [=](auto at, Vec<T>* sum) {
      Vec<T> g = at(grad_out);
      sum[0] += g;
      sum[1] = fma(g, (at(x) - Vec<T>(mean[at.row])) * Vec<T>(inv_std[at.row]), sum[1]);
    };
    auto before_leaf = [=](int64_t first, int64_t last) {
      if (writes_beside_sums) write_rows(first, last);
    };
    band.is_in_cache |= writes_beside_sums;  // a leaf by then
    sum_band(band, begin, end, term, sums, before_leaf);
  };
  if (has_chunks)
    return sum_tall_columns<T, 2>(stream, rows, columns, sum, [=](auto at, Vec<T>* sums, const ChunkTable<T, 2>&) {
      if (grad_bias) at.store(grad_bias, sums[0]);
      if (grad_weight) at.store(grad_weight, sums[1]);
    });
  // Threads take columns here: the sums over rows keep one order.
  parallel_for(
      stream, columns, grain_of(rows),
      [=](int64_t begin, int64_t end) {
        for_bands<T>(begin, end, rows, columns, [=](Band band) {
          BandSums<T, 2> sums;
          sum(band, 0, rows, sums);
          if (grad_bias) memcpy(grad_bias + band.column, sums.of[0], band.columns * sizeof(T));
          if (grad_weight) memcpy(grad_weight + band.column, sums.of[1], band.columns * sizeof(T));
        });
      },
      strip_columns<T>);
}

}  // namespace
EXPORT(layer_norm_forward)
EXPORT(layer_norm_backward)

}  // namespace MINIDL_TARGET
