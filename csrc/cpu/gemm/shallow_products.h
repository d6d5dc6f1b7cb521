// Products of so few steps that a panel of b stays in the registers while the rows of a go by: nothing is packed, and
// out is written once, a few rows at a time.
#pragma once
#include "gemm/epilogue.h"
#include "gemm/index_list.h"
#include "gemm/product.h"
#include "gemm/range.h"
#include "parallel.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

constexpr int shallow_vectors = 2;
// Steps whose vectors of b leave registers for two sums and a number of a. With 16 registers there is no room for
// enough of them.
constexpr int max_shallow_depth = vector_registers > 16 ? 12 : 0;
// Rows whose sums are made side by side, which hides the latency of their additions, in the registers that b leaves.
template <int depth>
constexpr int shallow_height =
    (vector_registers - 1) / shallow_vectors - depth < 4 ? (vector_registers - 1) / shallow_vectors - depth : 4;
// Rows that meet a panel of b before the next one takes its place. Where the rows of out are whole pages apart, their
// lines lie in few sets of the cache and drive each other out: few rows then.
constexpr int64_t shallow_rows = 64, colliding_shallow_rows = 8;
// Multiply-adds that are worth another thread.
constexpr int64_t shallow_grain = 131072;

template <typename T>
bool is_shallow(const Product<T>& p) {
  return p.k <= max_shallow_depth && p.k > 0 && p.a.has_contiguous_lines && !p.b.has_contiguous_lines &&
         p.m >= colliding_shallow_rows && p.n >= Vec<T>::width && (!p.saved || p.activation == Activation::relu);
}

// out[row : row + height, column : column + vectors * width] from b's vectors; load_at and store_at take part of the
// last vector of a row. A tile's sums are finished through memory where that is so (finish_sums_of_tile): 333 x 12
// times 12 x 77 would take a third longer.
template <typename T, int height, int vectors, int depth, typename LoadAt, typename StoreAt>
SIMD_INLINE void multiply_shallow_rows(const Product<T>& p, const Vec<T> (&b)[depth][vectors], int64_t row,
                                       int64_t column, LoadAt load_at, StoreAt store_at) {
  constexpr int width = Vec<T>::width;
  const T* a = p.a.data + row * p.a.stride;
  Vec<T> sum[height][vectors] = {};
#pragma GCC unroll 12
  for (int step = 0; step < depth; ++step)
#pragma GCC unroll 4
    for (int i = 0; i < height; ++i) {
      Vec<T> number(a[i * p.a.stride + step]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[i][v] = fma(number, b[step][v], sum[i][v]);
    }
#pragma GCC unroll 4
  for (int i = 0; i < height; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) {
      const int64_t place = (row + i) * p.n + column + v * width;
      if (p.accumulate) sum[i][v] = load_at(p.out + place) + sum[i][v];
      if (p.saved) sum[i][v] = relu_gradient(load_at(p.saved + place), sum[i][v]);
      store_at(p.out + place, sum[i][v]);
    }
}

template <typename T, int vectors, int depth, typename LoadAt, typename StoreAt>
SIMD_INLINE void multiply_shallow_panel(const Product<T>& p, Range rows, int64_t column, LoadAt load_at,
                                        StoreAt store_at) {
  Vec<T> b[depth][vectors];
#pragma GCC unroll 12
  for (int step = 0; step < depth; ++step)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) b[step][v] = load_at(p.b.data + step * p.b.stride + column + v * Vec<T>::width);
  constexpr int height = shallow_height<depth>;
  int64_t row = rows.begin;
  for (; row + height <= rows.end; row += height)
    multiply_shallow_rows<T, height>(p, b, row, column, load_at, store_at);
  for (; row < rows.end; ++row) multiply_shallow_rows<T, 1>(p, b, row, column, load_at, store_at);
}

template <typename T, int depth>
void multiply_shallow(const Product<T>& product, Range rows, Range columns) {
  constexpr int width = Vec<T>::width;
  const Product<T> p = product;  // a copy, so that the compiler need not read it again after every store
  const int64_t rows_at_a_time = are_whole_pages<T>(p.n) ? colliding_shallow_rows : shallow_rows;
  for (int64_t first = rows.begin; first < rows.end; first += rows_at_a_time) {
    Range some{first, smaller(first + rows_at_a_time, rows.end)};
    auto load_full = [](const T* from) { return load(from); };
    auto store_full = [](T* to, Vec<T> v) { store(to, v); };
    int64_t column = columns.begin;
    for (; column + shallow_vectors * width <= columns.end; column += shallow_vectors * width)
      multiply_shallow_panel<T, shallow_vectors, depth>(p, some, column, load_full, store_full);
    for (; column < columns.end; column += width) {
      int count = (int)smaller(width, columns.end - column);
      multiply_shallow_panel<T, 1, depth>(
          p, some, column, [=](const T* from) { return load_partial(from, count); },
          [=](T* to, Vec<T> v) { store_partial(to, v, count); });
    }
  }
}

template <typename T, int... index>
void multiply_shallow(const Product<T>& p, [[maybe_unused]] Range rows, [[maybe_unused]] Range columns,
                      IndexList<index...>) {
  ((p.k == index + 1 ? multiply_shallow<T, index + 1>(p, rows, columns) : void()), ...);
}

// Whole rows for each thread, unless they are few.
template <typename T>
void multiply_shallow(Stream stream, const Product<T>& p) {
  constexpr typename CountTo<max_shallow_depth>::List depths;
  if (p.m >= colliding_shallow_rows * stream.threads)
    parallel_for(
        stream, p.m, shallow_grain / (p.n * p.k) + 1,
        [&](int64_t begin, int64_t end) { multiply_shallow(p, {begin, end}, {0, p.n}, depths); },
        colliding_shallow_rows);
  else
    parallel_for(
        stream, p.n, shallow_grain / (p.m * p.k) + 1,
        [&](int64_t begin, int64_t end) { multiply_shallow(p, {0, p.m}, {begin, end}, depths); },
        shallow_vectors * Vec<T>::width);
}

}  // namespace
}  // namespace MINIDL_TARGET
