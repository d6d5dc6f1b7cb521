// Several registers at once: a square of width x width numbers transposed, the lanes of each added up, the halves of
// two joined.
#pragma once
#include "gemm/index_list.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// Processors have their fast shuffles within 16 bytes, or of whole 16 bytes.
template <typename T>
constexpr int in_16_bytes = 16 / sizeof(T);

// Within each 16 bytes: the numbers of the first halves of a and b in turn, then those of the second halves.
template <typename T, int... i>
SIMD_INLINE void interleave(Vec<T>& a, Vec<T>& b, IndexList<i...>) {
  constexpr int width = Vec<T>::width, unit = in_16_bytes<T>;
  auto first = __builtin_shufflevector(a.lanes, b.lanes, (i % 2 * width + i / unit * unit + i % unit / 2)...);
  auto second =
      __builtin_shufflevector(a.lanes, b.lanes, (i % 2 * width + i / unit * unit + i % unit / 2 + unit / 2)...);
  a = Vec<T>(first);
  b = Vec<T>(second);
}

// Every other 16 bytes of a and then b, from the first on; the others.
template <typename T, int... i>
SIMD_INLINE void separate(Vec<T>& a, Vec<T>& b, IndexList<i...>) {
  constexpr int unit = in_16_bytes<T>;
  auto even = __builtin_shufflevector(a.lanes, b.lanes, (i / unit * 2 * unit + i % unit)...);
  auto odd = __builtin_shufflevector(a.lanes, b.lanes, (i / unit * 2 * unit + unit + i % unit)...);
  a = Vec<T>(even);
  b = Vec<T>(odd);
}

// log2(width) rounds over pairs of rows: squares of 16 bytes are transposed, then the square of these. A square of 16 x
// 16 floats takes a Zen 5 core 21 cycles; exchanging ever larger blocks in place (Eklundh 1972) takes 31.
template <int distance, typename T>
SIMD_INLINE void transpose_units(Vec<T> (&rows)[Vec<T>::width]) {
  if constexpr (distance > 0) {
#pragma GCC unroll 16
    for (int row = 0; row < Vec<T>::width; ++row)
      if (!(row & distance)) interleave(rows[row], rows[row + distance], typename CountTo<Vec<T>::width>::List{});
    transpose_units<distance / 2>(rows);
  }
}
template <int distance, typename T>
SIMD_INLINE void gather_units(Vec<T> (&rows)[Vec<T>::width]) {
  if constexpr (distance < Vec<T>::width) {
#pragma GCC unroll 16
    for (int row = 0; row < Vec<T>::width; ++row)
      if (!(row & distance)) separate(rows[row], rows[row + distance], typename CountTo<Vec<T>::width>::List{});
    gather_units<2 * distance>(rows);
  }
}
template <typename T>
SIMD_INLINE void transpose_registers(Vec<T> (&rows)[Vec<T>::width]) {
  transpose_units<in_16_bytes<T> / 2>(rows);
  gather_units<in_16_bytes<T>>(rows);
}

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
