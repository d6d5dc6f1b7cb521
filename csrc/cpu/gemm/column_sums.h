// Sums over the rows of a matrix: the gradient of a bias.
#pragma once
#include "kernels.h"
#include "parallel.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// Partial sums of this many rows are added up in turn: the rounding error grows with rows / 64, not with rows.
constexpr int64_t rows_per_partial_sum = 64;

// Sums of `vectors` neighbouring vectors of columns; load_at reads one of them.
template <typename T, int vectors, typename Load, typename Finish>
SIMD_INLINE void sum_down(const T* x, int64_t rows, int64_t stride, Load load_at, Finish finish) {
  Vec<T> total[vectors] = {};
  for (int64_t first = 0; first < rows; first += rows_per_partial_sum) {
    Vec<T> partial[vectors] = {};
    int64_t end = first + rows_per_partial_sum < rows ? first + rows_per_partial_sum : rows;
    for (int64_t row = first; row < end; ++row)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) partial[v] += load_at(x + row * stride + v * Vec<T>::width);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) total[v] += partial[v];
  }
#pragma GCC unroll 4
  for (int v = 0; v < vectors; ++v) finish(v, total[v]);
}

// out[j] (+)= sum over i of x[i, j]
template <typename T>
void sum_columns(Stream stream, const T* x, T* out, int64_t rows, int64_t columns, bool accumulate) {
  constexpr int width = Vec<T>::width, vectors = 4;
  auto load_full = [](const T* from) { return load(from); };
  parallel_for(stream, columns, 65536 / (rows > 0 ? rows : 1), [=](int64_t begin, int64_t end) {
    int64_t column = begin;
    auto finish_full = [&](int v, Vec<T> sum) {
      T* target = out + column + v * width;
      store(target, accumulate ? load(target) + sum : sum);
    };
    for (; column + vectors * width <= end; column += vectors * width)
      sum_down<T, vectors>(x + column, rows, columns, load_full, finish_full);
    for (; column + width <= end; column += width) sum_down<T, 1>(x + column, rows, columns, load_full, finish_full);
    int count = (int)(end - column);
    if (count == 0) return;
    sum_down<T, 1>(
        x + column, rows, columns, [=](const T* from) { return load_partial(from, count); },
        [=](int, Vec<T> sum) {
          store_partial(out + column, accumulate ? load_partial(out + column, count) + sum : sum, count);
        });
  });
}

}  // namespace
}  // namespace MINIDL_TARGET
