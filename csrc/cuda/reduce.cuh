// Reductions across a warp and a block in a fixed order, so that every run gives the same bits.
#pragma once
#include <ptx.cuh>  // not "ptx.cuh": the include path decides, and the emulator has its own
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

// The value of the lane whose number differs by the bits of distance; T may be a struct whose size is a multiple of 4.
template <typename T>
__device__ T shuffle_xor(T value, int distance) {
  struct Words {
    unsigned word[sizeof(T) / sizeof(unsigned)];
  };
  Words words = __builtin_bit_cast(Words, value);
#pragma unroll
  for (unsigned& word : words.word) word = __shfl_xor_sync(whole_warp, word, distance);
  return __builtin_bit_cast(T, words);
}

// combine over each group of `lanes` neighbouring threads, the result in all of them; T may be a struct. lanes is a
// power of two: up to 32, or all threads of the block. Whole warps take part, and more than 32 lanes need the whole
// block.
template <int lanes, typename T, typename Combine>
__device__ T group_reduce(T value, Combine combine) {
  constexpr int lanes_of_warp = lanes < warp_threads ? lanes : warp_threads;
#pragma unroll
  for (int distance = lanes_of_warp / 2; distance > 0; distance /= 2)
    value = combine(value, shuffle_xor(value, distance));
  if constexpr (lanes > warp_threads) {
    constexpr int warps = lanes / warp_threads;
    SHARED(T, of_warp, [warps]);
    __syncthreads();  // an earlier use of of_warp is over
    if (threadIdx.x % warp_threads == 0) of_warp[threadIdx.x / warp_threads] = value;
    __syncthreads();
    value = of_warp[threadIdx.x % warps];
#pragma unroll
    for (int distance = warps / 2; distance > 0; distance /= 2) value = combine(value, shuffle_xor(value, distance));
  }
  return value;
}

// What group_reduce<lanes>(value_of(threadIdx.x), combine) is in a block of `lanes` threads, by one of `threads`: each
// stands for several. The result in all of them.
template <int lanes, int threads, typename Value, typename Combine>
__device__ auto group_reduce_by(const Value& value_of, Combine combine) {
  constexpr int warps = lanes / warp_threads, own_warps = threads / warp_threads;
  static_assert(lanes > warp_threads && warps % own_warps == 0);
  using T = decltype(value_of(0));
  SHARED(T, of_warp, [warps]);
  __syncthreads();  // an earlier use of of_warp is over
#pragma unroll
  for (int i = 0; i < warps / own_warps; ++i) {
    const T value = group_reduce<warp_threads>(value_of((int)threadIdx.x + i * threads), combine);
    if (threadIdx.x % warp_threads == 0) of_warp[threadIdx.x / warp_threads + i * own_warps] = value;
  }
  __syncthreads();
  return group_reduce<warps>(of_warp[threadIdx.x % warps], combine);
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

// Blocks of a kernel that ends in grid_sum: enough to fill a GPU, few enough for one block to add up what they bring.
constexpr int64_t max_summing_blocks = 8 * multiprocessors;

// Sums the blocks' values over a one-dimensional grid, in a fixed order; every thread brings its block's value. True in
// all threads of the last block to arrive, where value is then the sum; parts = room for one value per block.
template <int threads, typename T>
__device__ bool grid_sum(T& value, T* parts, unsigned* counter) {
  if (gridDim.x == 1) return true;
  if (threadIdx.x == 0) parts[blockIdx.x] = value;
  if (!arrives_last(counter, gridDim.x)) return false;
  value = 0;
  for (unsigned block = threadIdx.x; block < gridDim.x; block += threads) value += parts[block];
  value = group_reduce<threads>(value, Sum{});
  return true;
}

}  // namespace
}  // namespace MINIDL_TARGET
