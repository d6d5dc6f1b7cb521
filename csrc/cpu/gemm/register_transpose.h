// Several registers at once: a square of width x width numbers transposed, the lanes of each added up, the halves of
// two joined.
#pragma once
#include "gemm/index_list.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// Seen as 2 x 2 blocks of block x block numbers: the upper right block of each square changes places with its lower
// left one. Rows `upper` and `lower` are block apart.
template <int block, typename T, int... lane>
SIMD_INLINE void exchange_blocks(Vec<T>& upper, Vec<T>& lower, IndexList<lane...>) {
  constexpr int width = Vec<T>::width;
  auto left = __builtin_shufflevector(upper.lanes, lower.lanes, (lane & block ? width + lane - block : lane)...);
  auto right = __builtin_shufflevector(upper.lanes, lower.lanes, (lane & block ? width + lane : lane + block)...);
  upper = Vec<T>(left);
  lower = Vec<T>(right);
}

// log2(width) rounds of exchanges with blocks of 1, 2, 4, ... (Eklundh 1972).
template <int block = 1, typename T>
SIMD_INLINE void transpose_registers(Vec<T> (&rows)[Vec<T>::width]) {
  constexpr int width = Vec<T>::width;
  if constexpr (block < width) {
#pragma GCC unroll 16
    for (int row = 0; row < width; ++row)
      if (!(row & block)) exchange_blocks<block>(rows[row], rows[row + block], typename CountTo<width>::List{});
    transpose_registers<2 * block>(rows);
  }
}

// Lane j of the result is the sum over the lanes of v[j], for count <= width: a transposition that adds what it brings
// together. The order of each sum does not depend on j and count.
template <int block = 1, typename T, int count>
SIMD_INLINE Vec<T> sum_lanes_of_each(const Vec<T> (&v)[count]) {
  constexpr int width = Vec<T>::width, pairs = (count + 1) / 2;
  if constexpr (block == width) {
    return v[0];
  } else {
    Vec<T> sum[pairs];
#pragma GCC unroll 16
    for (int i = 0; i < pairs; ++i) {
      Vec<T> upper = v[2 * i], lower = v[2 * i + 1 < count ? 2 * i + 1 : 2 * i];
      exchange_blocks<block>(upper, lower, typename CountTo<width>::List{});
      sum[i] = upper + lower;
    }
    return sum_lanes_of_each<2 * block>(sum);
  }
}

// The lower halves of a's numbers, then of b's, on a machine where the lower half of a number comes first.
template <int... lane>
SIMD_INLINE Vec<int32_t> lower_halves(Vec<int64_t> a, Vec<int64_t> b, IndexList<lane...>) {
  return Vec<int32_t>(__builtin_shufflevector(bitcast<int32_t>(a).lanes, bitcast<int32_t>(b).lanes, (2 * lane)...));
}
SIMD_INLINE Vec<int32_t> lower_halves(Vec<int64_t> a, Vec<int64_t> b) {
  return lower_halves(a, b, typename CountTo<Vec<int32_t>::width>::List{});
}

}  // namespace
}  // namespace MINIDL_TARGET
