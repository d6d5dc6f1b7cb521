// Reductions across a warp and a block in a fixed order, so that every run gives the same bits.
#pragma once
#include "launch.cuh"

namespace MINIDL_TARGET {
namespace {

constexpr int warp_threads = 32;
constexpr unsigned whole_warp = 0xffffffffu;

struct Sum {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

// combine over the 32 lanes, the result in every lane. A butterfly: each pair is combined in one order on both sides
// only where combine is commutative, which sums and maxima are.
template <typename T, typename Combine>
__device__ T warp_reduce(T value, Combine combine) {
#pragma unroll
  for (int distance = warp_threads / 2; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(whole_warp, value, distance));
  return value;
}

// combine over all threads of a block of threads x 1 x 1 (a multiple of 32), the result in every thread.
template <int threads, typename T, typename Combine>
__device__ T block_reduce(T value, Combine combine) {
  constexpr int warps = threads / warp_threads;
  SHARED(T, of_warp, [warps]);
  value = warp_reduce(value, combine);
  if constexpr (warps == 1) return value;
  __syncthreads();  // an earlier use of of_warp is over
  if (threadIdx.x % warp_threads == 0) of_warp[threadIdx.x / warp_threads] = value;
  __syncthreads();
  value = of_warp[0];
#pragma unroll
  for (int warp = 1; warp < warps; ++warp) value = combine(value, of_warp[warp]);
  return value;
}

// True in all threads of the last block to arrive at a counter, which is then zero again. What the other blocks wrote
// before they arrived can be read from then on; total = blocks that arrive there.
__device__ inline bool arrives_last(unsigned* counter, unsigned total) {
  SHARED(bool, is_last, [1]);
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {
    is_last[0] = atomicAdd(counter, 1u) == total - 1;
    if (is_last[0]) *counter = 0;
  }
  __syncthreads();
  bool result = is_last[0];
  if (result) __threadfence();
  return result;
}

}  // namespace
}  // namespace MINIDL_TARGET
