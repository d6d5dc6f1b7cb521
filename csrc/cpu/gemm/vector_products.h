// Products with so few rows or columns that each number of the larger factor is used about once: no packing, no tiles.
#pragma once
#include "gemm/epilogue.h"
#include "gemm/product.h"
#include "parallel.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// Elements of the larger factor that are worth another thread.
constexpr int64_t vector_grain = 32768;

// ---- both factors in contiguous lines: dot products

constexpr int dot_rows = 4;
constexpr int dot_columns = 16;  // finished together, as whole vectors
// Sums that run side by side hide the latency of the additions: 4 x 4 of 32 registers, 4 x 2 of 16, 1 x 8 of either.
template <int rows>
constexpr int dots_at_once = rows == 1 ? 8 : vector_registers / 8;

template <typename T, int rows, int columns>
SIMD_INLINE void dot_products(const Product<T>& p, int64_t row, int64_t column, T* sums) {
  constexpr int width = Vec<T>::width;
  Vec<T> sum[rows][columns] = {};
  const T *a = p.a.at(row, 0), *b = p.b.at(column, 0);
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
  int64_t step = 0;
  for (; step + width <= p.k; step += width, a += width, b += width) add_step([](const T* from) { return load(from); });
  if (step < p.k) add_step([&](const T* from) { return load_partial(from, (int)(p.k - step)); });
#pragma GCC unroll 4
  for (int i = 0; i < rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < columns; ++j) sums[i * dot_columns + j] = sum_lanes(sum[i][j]);
}

// out[row : row + rows, column : column + columns], columns <= dot_columns
template <typename T, int rows>
void finish_dot_products(const Product<T>& p, int64_t row, int64_t column, int columns) {
  alignas(64) T sums[rows * dot_columns] = {};
  int done = 0;
  for (; done + dots_at_once<rows> <= columns; done += dots_at_once<rows>)
    dot_products<T, rows, dots_at_once<rows>>(p, row, column + done, sums + done);
  for (; done < columns; ++done) dot_products<T, rows, 1>(p, row, column + done, sums + done);
  finish_tile(Epilogue<T>{p.activation, p.accumulate}, sums, dot_columns, p.bias ? p.bias + column : nullptr,
              p.out + row * p.n + column, p.n, rows, columns);
}

template <typename T>
void multiply_by_dots(const Product<T>& p, int64_t row_begin, int64_t row_end, int64_t column_begin,
                      int64_t column_end) {
  for (int64_t column = column_begin; column < column_end; column += dot_columns) {
    int columns = column_end - column < dot_columns ? (int)(column_end - column) : dot_columns;
    int64_t row = row_begin;
    for (; row + dot_rows <= row_end; row += dot_rows) finish_dot_products<T, dot_rows>(p, row, column, columns);
    for (; row < row_end; ++row) finish_dot_products<T, 1>(p, row, column, columns);
  }
}

template <typename T>
void multiply_by_dots(Stream stream, const Product<T>& p) {
  int64_t grain = vector_grain / (p.k > 0 ? p.k : 1);
  if (p.n >= p.m)
    parallel_for(
        stream, p.n, grain, [&](int64_t begin, int64_t end) { multiply_by_dots(p, 0, p.m, begin, end); }, dot_columns);
  else
    parallel_for(stream, p.m, grain, [&](int64_t begin, int64_t end) { multiply_by_dots(p, begin, end, 0, p.n); });
}

// ---- one row times a matrix whose rows are contiguous: a weighted sum of the rows

// out[column : column + vectors * width] (+)= sum over k of weights[k] * rows[k, column : ...]; the last vector has
// last_count lanes
template <typename T, int vectors>
SIMD_INLINE void sum_weighted_columns(const T* weights, const T* rows, int64_t stride, int64_t depth, T* out,
                                      bool accumulate) {
  constexpr int width = Vec<T>::width;
  Vec<T> sum[vectors] = {};
  for (int64_t step = 0; step < depth; ++step, rows += stride)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sum[v] = fma(Vec<T>(weights[step]), load(rows + v * width), sum[v]);
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) store(out + v * width, accumulate ? load(out + v * width) + sum[v] : sum[v]);
}

// out[j] (+)= sum over k of weights[k] * rows[k, j]
template <typename T>
void sum_weighted_rows(Stream stream, const T* weights, const T* rows, T* out, int64_t depth, int64_t columns,
                       bool accumulate) {
  constexpr int width = Vec<T>::width, vectors = 8;
  int64_t grain = vector_grain / (depth > 0 ? depth : 1);
  parallel_for(
      stream, columns, grain,
      [=](int64_t begin, int64_t end) {
        int64_t column = begin;
        for (; column + vectors * width <= end; column += vectors * width)
          sum_weighted_columns<T, vectors>(weights, rows + column, columns, depth, out + column, accumulate);
        for (; column + width <= end; column += width)
          sum_weighted_columns<T, 1>(weights, rows + column, columns, depth, out + column, accumulate);
        if (column == end) return;
        int count = (int)(end - column);
        Vec<T> sum{};
        for (int64_t step = 0; step < depth; ++step)
          sum = fma(Vec<T>(weights[step]), load_partial(rows + step * columns + column, count), sum);
        if (accumulate) sum += load_partial(out + column, count);
        store_partial(out + column, sum, count);
      },
      vectors * width);
}

}  // namespace
}  // namespace MINIDL_TARGET
