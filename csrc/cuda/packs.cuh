// Packs of arrays that a kernel reads either by vectors alone or, not aligned or of odd extents, by elements alone.
#pragma once
#include "elementwise.cuh"

namespace MINIDL_TARGET {
namespace {

// The first count elements, at most a pack; the others are 0. By vectors, count is 0 or all of a pack.
template <bool by_vectors, typename T>
__device__ Pack<T, pack_width<T>> read_pack(const T* from, int count) {
  constexpr int width = pack_width<T>;
  Pack<T, width> pack{};
  if constexpr (by_vectors) {
    if (count > 0) pack = *reinterpret_cast<const Pack<T, width>*>(from);
  } else {
#pragma unroll
    for (int j = 0; j < width; ++j)
      if (j < count) pack.at[j] = from[j];
  }
  return pack;
}

template <bool by_vectors, typename T>
__device__ void write_pack(T* to, const Pack<T, pack_width<T>>& pack, int count) {
  constexpr int width = pack_width<T>;
  if constexpr (by_vectors) {
    // The instruction by name: the compiler takes the assignment of a pack apart where a condition stands before it.
    using Vector = std::conditional_t<width == 4, float4, double2>;
    if (count > 0) __stwb(reinterpret_cast<Vector*>(to), __builtin_bit_cast(Vector, pack));
  } else {
#pragma unroll
    for (int j = 0; j < width; ++j)
      if (j < count) to[j] = pack.at[j];
  }
}

}  // namespace
}  // namespace MINIDL_TARGET
