// Packs of arrays of which only a run-time flag says whether they are aligned.
#pragma once
#include "elementwise.cuh"

namespace MINIDL_TARGET {
namespace {

// The first count elements, at most a pack; the others are 0.
template <typename T>
__device__ Pack<T, pack_width<T>> load_pack_if(bool is_aligned, const T* from, int64_t count) {
  constexpr int width = pack_width<T>;
  if (is_aligned) return load_pack<width>(from, count);
  Pack<T, width> pack{};
#pragma unroll
  for (int j = 0; j < width; ++j)
    if (j < count) pack.at[j] = from[j];
  return pack;
}

template <typename T>
__device__ void store_pack_if(bool is_aligned, T* to, const Pack<T, pack_width<T>>& pack, int64_t count) {
  if (is_aligned) return store_pack(to, pack, count);
#pragma unroll
  for (int j = 0; j < pack_width<T>; ++j)
    if (j < count) to[j] = pack.at[j];
}

}  // namespace
}  // namespace MINIDL_TARGET
