// A square of width x width numbers, transposed inside the registers.
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

}  // namespace
}  // namespace MINIDL_TARGET
