// Philox 4x32-10 (Salmon et al. 2011): random words as a function of a key and a counter, 16 counters at a time.
#pragma once
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// A group is 16 consecutive blocks of 4 words, stored word by word: words[16 * w + b] is word w of block b.
// 16 is the widest register in words, so that every instruction set stores whole registers and none transposes, and on
// a GPU the threads of a half-warp write neighbours.
constexpr int group_blocks = 16;
constexpr int group_words = 4 * group_blocks;

// One counter per 64-bit lane, its words in the low halves: the multiplication ignores the high ones.
SIMD_INLINE void philox_rounds(Vec<uint64_t> (&counter)[4], uint64_t key) {
  uint32_t key_low = (uint32_t)key, key_high = (uint32_t)(key >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    auto product_0 = multiply_even(bitcast<uint32_t>(counter[0]), Vec<uint32_t>(0xD2511F53u));
    auto product_2 = multiply_even(bitcast<uint32_t>(counter[2]), Vec<uint32_t>(0xCD9E8D57u));
    counter[0] = (product_2 >> 32) ^ counter[1] ^ Vec<uint64_t>(key_low);
    counter[1] = product_2;
    counter[2] = (product_0 >> 32) ^ counter[3] ^ Vec<uint64_t>(key_high);
    counter[3] = product_0;
    key_low += 0x9E3779B9u;
    key_high += 0xBB67AE85u;
  }
}

// The 64 words of one group; ticket = {key, upper half of the counter}, the lower half is the number of the block.
SIMD_INLINE void philox_group(const int64_t* ticket, int64_t group, uint32_t* words) {
  using Lanes = Vec<uint64_t>;
  uint64_t key = (uint64_t)ticket[0], call = (uint64_t)ticket[1];
  for (int b = 0; b < group_blocks; b += 2 * Lanes::width) {
    Lanes block = Lanes((uint64_t)group * group_blocks + b) + (iota<uint64_t>() << 1);
    Lanes even[4] = {block, block >> 32, Lanes(call), Lanes(call >> 32)};
    block = block + Lanes(1);
    Lanes odd[4] = {block, block >> 32, Lanes(call), Lanes(call >> 32)};
    philox_rounds(even, key);
    philox_rounds(odd, key);
    for (int w = 0; w < 4; ++w)
      store(words + group_blocks * w + b, bitcast<uint32_t>((even[w] & Lanes(0xffffffffu)) | (odd[w] << 32)));
  }
}

// Element i of a draw with 64 bits: words 2p and 2p + 1 of one block, 32 elements per group.
SIMD_INLINE uint64_t wide_word(const uint32_t* words, int i) {
  const uint32_t* low = words + i + (i & group_blocks);
  return low[0] | (uint64_t)low[group_blocks] << 32;
}

}  // namespace
}  // namespace MINIDL_TARGET
