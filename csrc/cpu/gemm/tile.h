// The tile kernel: height x (vectors * width) sums of products, kept in registers over the whole depth.
#pragma once
#include "gemm/epilogue.h"
#include "gemm/index_list.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// Sums fill the registers but for two vectors of b, one broadcast number of a and one product:
// 14 x 2 of 32 registers, 6 x 2 of 16.
constexpr int tile_vectors = 2;
constexpr int tile_rows = vector_registers / tile_vectors - 2;
template <typename T>
constexpr int tile_columns = tile_vectors * Vec<T>::width;
// Lines of a packed panel of a: whole vectors.
template <typename T>
constexpr int packed_rows = (tile_rows + Vec<T>::width - 1) / Vec<T>::width * Vec<T>::width;

template <typename T>
struct TileInput {
  const T *a, *b;
  int64_t a_row, a_step;  // elements from row to row and from step to step
  int64_t b_step;
  int64_t depth;
  const T* soon;  // what will be packed or read next: one cache line a step is fetched into the L2 meanwhile
  int64_t soon_step;
};

// to.out[:height, :columns] from sums in registers.
template <typename T, int height, int vectors>
SIMD_INLINE void finish_sums_of_tile(const Vec<T> (&sum)[height][vectors], const TileOutput<T>& to) {
  constexpr int width = Vec<T>::width, columns = vectors * width;
  if (to.columns == columns && to.is_short() && to.saved) {
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        int64_t place = row * to.stride + v * width;
        store(to.out + place, relu_gradient(load(to.saved + place), sum[row][v]));
      }
  } else if (to.columns == columns && to.is_short()) {
    Vec<T> lower_bound(to.lower_bound()), bias[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) bias[v] = to.bias ? load(to.bias + v * width) : no_bias<T>();
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v)
        store(to.out + row * to.stride + v * width, add_and_bound(sum[row][v], bias[v], lower_bound));
  } else {
    alignas(64) T sums[height * columns];
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) store(sums + row * columns + v * width, sum[row][v]);
    finish_tile(to, sums, columns, height);
  }
}

// to.out[:height, :columns] = a b, finished as `to` says. a_row is 1 for has_adjacent_rows: a packed panel, or a
// transposed a.
template <typename T, int height, int vectors, bool has_adjacent_rows>
void multiply_tile(const TileInput<T>& in, const TileOutput<T>& to) {
  constexpr int width = Vec<T>::width, columns = vectors * width;
  Vec<T> sum[height][vectors];
#pragma GCC unroll 16
  for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[row][v] = Vec<T>{};

  // out is written once, at the end: by then its lines have arrived, unless the end is near.
  if (in.depth >= 32)
    for (int row = 0; row < height; ++row)
      for (int column = 0; column < columns; column += 64 / sizeof(T))
        __builtin_prefetch(to.out + row * to.stride + column, 1);

  const T *a = in.a, *b = in.b, *soon = in.soon;
  const int64_t a_row = has_adjacent_rows ? 1 : in.a_row, a_step = has_adjacent_rows ? in.a_step : 1;
  for (int64_t step = 0; step < in.depth; ++step, a += a_step, b += in.b_step, soon += in.soon_step) {
    __builtin_prefetch(soon, 0, 2);
    Vec<T> b_vector[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) b_vector[v] = load(b + v * width);
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row) {
      Vec<T> a_number(a[row * a_row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[row][v] = fma(a_number, b_vector[v], sum[row][v]);
    }
  }

  finish_sums_of_tile(sum, to);
}

template <typename T>
using TileKernel = void(const TileInput<T>&, const TileOutput<T>&);

template <typename T, int vectors, bool has_adjacent_rows, int... row>
inline TileKernel<T>* kernel_of_height(int height, IndexList<row...>) {
  static constexpr TileKernel<T>* kernels[] = {multiply_tile<T, row + 1, vectors, has_adjacent_rows>...};
  return kernels[height - 1];
}

// The instance for 1 <= height <= tile_rows and 1 or 2 vectors.
template <typename T>
TileKernel<T>* tile_kernel(int height, int vectors, bool has_adjacent_rows) {
  typename CountTo<tile_rows>::List rows;
  if (vectors == 1)
    return has_adjacent_rows ? kernel_of_height<T, 1, true>(height, rows) : kernel_of_height<T, 1, false>(height, rows);
  return has_adjacent_rows ? kernel_of_height<T, 2, true>(height, rows) : kernel_of_height<T, 2, false>(height, rows);
}

}  // namespace
}  // namespace MINIDL_TARGET
