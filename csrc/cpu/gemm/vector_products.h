// Products with so few rows or columns that each number of the larger factor is used about once: no packing, no tiles.
#pragma once
#include <string.h>

#include "gemm/epilogue.h"
#include "gemm/index_list.h"
#include "gemm/product.h"
#include "gemm/range.h"
#include "gemm/register_transpose.h"
#include "parallel.h"
#include "scratch.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// Elements of the larger factor that are worth another thread.
constexpr int64_t vector_grain = 32768;

// ---- both factors in contiguous lines: dot products

constexpr int max_dot_rows = vector_registers > 16 ? 4 : 3;
constexpr int dot_columns = 16;                // finished together, as whole vectors
constexpr int sums_stride = dot_columns + 16;  // room for a vector that begins in the last column
// Beyond so many lines of a, the tiles make up for packing b; and all of a, which is read again for every few columns,
// has to stay in L2. Measured on a Zen 4 core, layers of 256 to 1024: dot products take 10 % less time at 32 lines, 3 %
// at 64; 64 lines of 16384 take 25 % more.
constexpr int64_t max_dot_lines = 64, max_dot_bytes = 256 << 10;
// Of each line at a time where rows meet the same columns in turn, so that these stay in the L1: 16 to 32 lines of 2048
// take 8 to 20 % less time on a Zen 5 core.
constexpr int64_t dot_depth_bytes = 4096;
// Lines of a that begin within cache lines are copied for so many columns a thread, if they are not very few.
constexpr int64_t min_columns_for_copy = 64, min_lines_for_copy = 12;
// What the registers hold beside a vector of each row and one of b, 8 at most: 4 x 6 of 32 registers, 3 x 4 of 16.
// Many sums side by side hide the latency of the additions.
constexpr int max_dots(int rows) {
  return (vector_registers - 1 - rows) / rows < 8 ? (vector_registers - 1 - rows) / rows : 8;
}

// sums[j] (+)= the sum over the lanes of v[j]; what follows up to a whole vector is overwritten where nothing is added.
template <int first = 0, typename T, int count>
SIMD_INLINE void store_lane_sums(const Vec<T> (&v)[count], T* sums, bool adds) {
  if constexpr (first < count) {
    constexpr int width = Vec<T>::width, some = count - first < width ? count - first : width;
    Vec<T> group[some];
#pragma GCC unroll 8
    for (int j = 0; j < some; ++j) group[j] = v[first + j];
    Vec<T> all = sum_lanes_of_each(group);
    if (adds)
      store_partial(sums + first, load_partial(sums + first, some) + all, some);
    else
      store(sums + first, all);
    store_lane_sums<first + some>(v, sums, adds);
  }
}

template <typename T, int rows, int columns>
void dot_products(const Product<T>& p, int64_t row, int64_t column, Range steps, T* sums) {
  constexpr int width = Vec<T>::width;
  Vec<T> sum[rows][columns] = {};
  const T *a = p.a.at(row, steps.begin), *b = p.b.at(column, steps.begin);
  auto add_step = [&](auto load_step) {
    Vec<T> a_step[rows];
#pragma GCC unroll 4
    for (int i = 0; i < rows; ++i) a_step[i] = load_step(a + i * p.a.stride);
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j) {
      Vec<T> b_step = load_step(b + j * p.b.stride);
#pragma GCC unroll 4
      for (int i = 0; i < rows; ++i) sum[i][j] = fma(a_step[i], b_step, sum[i][j]);
    }
  };
  int64_t step = steps.begin;
  for (; step + width <= steps.end; step += width, a += width, b += width)
    add_step([](const T* from) { return load(from); });
  if (step < steps.end) add_step([&](const T* from) { return load_partial(from, (int)(steps.end - step)); });
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i) store_lane_sums(sum[i], sums + i * sums_stride, steps.begin > 0);
}

// The instances: of[rows - 1][columns - 1].
template <typename T>
struct DotKernels {
  void (*of[max_dot_rows][max_dots(1)])(const Product<T>&, int64_t row, int64_t column, Range steps, T* sums) = {};

  constexpr DotKernels() { add_rows(typename CountTo<max_dot_rows>::List{}); }

 private:
  template <int... row>
  constexpr void add_rows(IndexList<row...>) {
    (add_columns<row>(typename CountTo<max_dots(row + 1)>::List{}), ...);
  }
  template <int row, int... column>
  constexpr void add_columns(IndexList<column...>) {
    ((of[row][column] = dot_products<T, row + 1, column + 1>), ...);
  }
};

// out at all_rows and all_columns, so many rows at a time. Few columns meet all of these in turn, so that they stay in
// the L1: groups of even size, 10 columns make 5 + 5.
template <typename T>
void multiply_by_dots(const Product<T>& p, Range all_rows, Range all_columns, int64_t rows_at_a_time) {
  static constexpr DotKernels<T> kernels;
  alignas(64) T sums[max_dot_lines * sums_stride];
  const int widest = max_dots((int)smaller(all_rows.size(), max_dot_rows));
  // They depend on the product alone, as the order of the sums does.
  const bool meets_columns_again = p.n >= p.m && p.m > max_dot_rows;
  const int64_t depth = meets_columns_again ? dot_depth_bytes / (int64_t)sizeof(T) : p.k,
                depth_blocks = p.k > depth ? ceil_divide(p.k, depth) : 1;
  for (int64_t column = all_columns.begin; column < all_columns.end; column += dot_columns) {
    int columns = (int)smaller(all_columns.end - column, dot_columns), groups = (columns + widest - 1) / widest;
    for (int64_t row = all_rows.begin; row < all_rows.end; row += rows_at_a_time) {
      int rows = (int)smaller(all_rows.end - row, rows_at_a_time);
      for (int group = 0, begin = 0, end; group < groups; ++group, begin = end) {
        end = columns * (group + 1) / groups;
        for (int64_t block = 0; block < depth_blocks; ++block)
          for (int i = 0; i < rows; i += max_dot_rows) {
            int some_rows = (int)smaller(rows - i, max_dot_rows);
            kernels.of[some_rows - 1][end - begin - 1](p, row + i, column + begin, share(p.k, block, depth_blocks),
                                                       sums + i * sums_stride + begin);
          }
      }
      finish_tile(p.output_at(row, column, columns), sums, sums_stride, rows);
    }
  }
}

template <typename T>
Factor<T> copy_to_cache_lines(Factor<T> lines, int64_t count, int64_t steps) {
  constexpr int64_t line = 64 / sizeof(T);
  int64_t stride = ceil_divide(steps, line) * line;
  T* copy = (T*)minidl::scratch_memory(count * stride * sizeof(T));
  for (int64_t i = 0; i < count; ++i) memcpy(copy + i * stride, lines.at(i, 0), steps * sizeof(T));
  lines.data = copy;
  lines.stride = stride;
  return lines;
}

template <typename T>
void multiply_by_dots(Stream stream, const Product<T>& p) {
  // Lines of the larger factor that are worth another thread, each of them used `uses` times.
  auto grain = [&](int64_t uses) { return vector_grain / (p.k > 0 ? p.k : 1) / (uses > 2 ? uses / 2 : 1); };
  if (p.n >= p.m) {
    // Vectors that cross cache lines take two loads, and those of a are loaded again for every few columns.
    bool may_copy = p.m >= min_lines_for_copy && begins_within_lines(p.a.data, p.a.stride);
    return parallel_for(
        stream, p.n, grain(p.m),
        [&](int64_t begin, int64_t end) {
          Product<T> own = p;
          if (may_copy && end - begin >= min_columns_for_copy) own.a = copy_to_cache_lines(p.a, p.m, p.k);
          multiply_by_dots(own, {0, p.m}, {begin, end}, max_dot_lines);
        },
        dot_columns);
  }
  // A dozen columns at most: they meet so many rows at a time as stay in the L1.
  constexpr int64_t rows_bytes = 16 << 10;
  int64_t steps_of_rows = rows_bytes / (max_dot_rows * (int64_t)sizeof(T));
  int64_t rows = larger(1, smaller(steps_of_rows / larger(1, p.k), max_dot_lines / max_dot_rows)) * max_dot_rows;
  parallel_for(
      stream, p.m, grain(p.n), [&](int64_t begin, int64_t end) { multiply_by_dots(p, {begin, end}, {0, p.n}, rows); },
      max_dot_rows);
}

// ---- one row times a matrix whose rows are contiguous: a weighted sum of the rows

// out (+)= sum over k of weights[k] * rows[k, :] for `count` rows at once: each pass over out, which stays in L1, reads
// as many rows front to back, the way the prefetchers like it.
template <typename T, int count>
void add_weighted_rows(const T* weights, const T* rows, int64_t stride, T* out, int64_t columns, bool adds_to_out) {
  constexpr int width = Vec<T>::width;
  Vec<T> weight[count];
#pragma GCC unroll 8
  for (int row = 0; row < count; ++row) weight[row] = Vec<T>(weights[row]);
  auto weighted_sum = [&](auto load_at, int64_t column) {
    Vec<T> sum = adds_to_out ? load_at(out + column) : Vec<T>{};
#pragma GCC unroll 8
    for (int row = 0; row < count; ++row) sum = fma(weight[row], load_at(rows + row * stride + column), sum);
    return sum;
  };
  int64_t column = 0;
  for (; column + width <= columns; column += width)
    store(out + column, weighted_sum([](const T* from) { return load(from); }, column));
  int rest = (int)(columns - column);
  if (rest)
    store_partial(out + column, weighted_sum([=](const T* from) { return load_partial(from, rest); }, column), rest);
}

// The sums of a row, or of a column that is one in memory, go on through the activation's gradient while in the L1.
template <typename T>
void finish_sums(const Product<T>& p, int64_t first, int64_t count) {
  if (!p.saved) return;
  TileOutput<T> to{p.out + first, 0, count, false, nullptr, p.saved + first, p.activation};
  finish_tile(to, to.out, 0, 1);
}

// out[j] (+)= sum over k of weights[k] * rows[k, j], for a product of one row (weights: a) or one column (weights: b)
template <typename T>
void sum_weighted_rows(Stream stream, const Product<T>& p, const T* weights, const T* rows, int64_t columns) {
  T* out = p.out;
  int64_t depth = p.k;
  bool accumulate = p.accumulate;
  int64_t grain = vector_grain / (depth > 0 ? depth : 1);
  parallel_for(stream, columns, grain, [&](int64_t begin, int64_t end) {
    constexpr int count = 8;
    if (depth == 0) add_weighted_rows<T, 0>(weights, rows, columns, out + begin, end - begin, accumulate);
    int64_t step = 0;
    for (; step + count <= depth; step += count)
      add_weighted_rows<T, count>(weights + step, rows + step * columns + begin, columns, out + begin, end - begin,
                                  accumulate || step > 0);
    for (; step < depth; ++step)
      add_weighted_rows<T, 1>(weights + step, rows + step * columns + begin, columns, out + begin, end - begin,
                              accumulate || step > 0);
    finish_sums(p, begin, end - begin);
  });
}

// ---- one column times one row

// out[i, j] (+)= a[i] * b[j], whole rows of out at a time
template <typename T>
void multiply_outer(Stream stream, const Product<T>& p) {
  parallel_for(
      stream, p.m, vector_grain / p.n + 1,
      [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          add_weighted_rows<T, 1>(p.a.data + row, p.b.data, p.n, p.out + row * p.n, p.n, p.accumulate);
          finish_sums(p, row * p.n, p.n);
        }
      },
      1);
}

}  // namespace
}  // namespace MINIDL_TARGET
