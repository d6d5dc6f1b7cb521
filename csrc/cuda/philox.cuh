// Philox 4x32-10 (Salmon et al. 2011): random words as a function of a key and a counter, in the order of kernels.def.
#pragma once
#include "kernels.h"
#include "launch.cuh"

namespace MINIDL_TARGET {
namespace {

// 16 consecutive blocks are a group, read word by word: so threads with neighbouring blocks write neighbours.
constexpr int group_blocks = 16;

struct PhiloxBlock {
  uint32_t words[4];
};

// ticket = {key, upper half of the counter}, block = the lower half.
__device__ inline PhiloxBlock philox(const int64_t* ticket, int64_t block) {
  const uint64_t key = (uint64_t)ticket[0], call = (uint64_t)ticket[1];
  uint32_t key_low = (uint32_t)key, key_high = (uint32_t)(key >> 32);
  uint32_t counter[4] = {(uint32_t)block, (uint32_t)((uint64_t)block >> 32), (uint32_t)call, (uint32_t)(call >> 32)};
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint64_t product_0 = uint64_t(0xD2511F53u) * counter[0];
    const uint64_t product_2 = uint64_t(0xCD9E8D57u) * counter[2];
    counter[0] = (uint32_t)(product_2 >> 32) ^ counter[1] ^ key_low;
    counter[1] = (uint32_t)product_2;
    counter[2] = (uint32_t)(product_0 >> 32) ^ counter[3] ^ key_high;
    counter[3] = (uint32_t)product_0;
    key_low += 0x9E3779B9u;
    key_high += 0xBB67AE85u;
  }
  return {counter[0], counter[1], counter[2], counter[3]};
}

// Where a draw gives per_block elements a block, those of a block lie 16 apart from this one on.
template <int per_block>
__device__ int64_t first_element(int64_t block) {
  return block / group_blocks * (group_blocks * per_block) + block % group_blocks;
}

// Whole groups, so that threads may take neighbouring blocks.
constexpr int64_t blocks_for(int64_t size, int per_block) {
  return divide_up(size, group_blocks * per_block) * group_blocks;
}

// 64 bits of a block: its words 0 and 1 (pair 0), or 2 and 3 (pair 1).
__device__ inline uint64_t word_pair(PhiloxBlock block, int pair) {
  return block.words[2 * pair] | (uint64_t)block.words[2 * pair + 1] << 32;
}

}  // namespace
}  // namespace MINIDL_TARGET
