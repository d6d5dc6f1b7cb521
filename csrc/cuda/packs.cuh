// Packs of arrays that a kernel reads either by vectors alone or, not aligned or of odd extents, by elements alone: a
// kernel that could do both would have its vector stores taken apart where the compiler merges the two ways.
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
    if (count > 0) *reinterpret_cast<Pack<T, width>*>(to) = pack;
  } else {
#pragma unroll
    for (int j = 0; j < width; ++j)
      if (j < count) to[j] = pack.at[j];
  }
}

}  // namespace
}  // namespace MINIDL_TARGET
