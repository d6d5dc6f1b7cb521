// What dropout multiplies elements by: 16 random bits each, the same bits in every kernel that drops.
#pragma once
#include "philox.h"

namespace MINIDL_TARGET {
namespace {

// How many of the 65536 values of 16 bits keep an element; only p = 1 drops every one.
inline int kept_values(double p) {
  int kept = (int)((1 - p) * 65536 + 0.5);
  return p < 1 && kept == 0 ? 1 : kept;
}

template <typename T>
struct DropoutFactors {
  static constexpr int per_group = 2 * group_words;
  const int64_t* ticket;
  int kept;
  T scale;

  DropoutFactors(const int64_t* ticket, double p)
      : ticket(ticket), kept(kept_values(p)), scale(kept > 0 ? T(65536.0 / kept) : T(0)) {}

  // scale or 0 for each of the elements [per_group * group, per_group * (group + 1)): the low halves of 16 words serve
  // 16 elements, the high halves the next 16.
  SIMD_INLINE void of_group(int64_t group, T* factors) const {
    alignas(64) uint32_t words[group_words];
    philox_group(ticket, group, words);
    const int limit = kept;  // in registers: for all the compiler knows, a store to factors changes the members
    const T factor = scale;
    for (int w = 0; w < group_words; w += group_blocks) {
      T* low = factors + 2 * w;
      T* high = low + group_blocks;
      for (int b = 0; b < group_blocks; ++b) low[b] = (int)(words[w + b] & 0xffff) < limit ? factor : T(0);
      for (int b = 0; b < group_blocks; ++b) high[b] = (int)(words[w + b] >> 16) < limit ? factor : T(0);
    }
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
