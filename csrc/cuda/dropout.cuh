// What dropout multiplies elements by: 16 random bits each, the same bits in every kernel that drops.
#pragma once
#include "philox.cuh"

namespace MINIDL_TARGET {
namespace {

// How many of the 65536 values of 16 bits keep an element; only p = 1 drops every one.
inline int kept_values(double p) {
  int kept = (int)((1 - p) * 65536 + 0.5);
  return p < 1 && kept == 0 ? 1 : kept;
}

// Made on the host, passed to a kernel by value; the ticket is read on the device.
template <typename T>
struct DropoutFactors {
  static constexpr int per_block = 8;  // halves of words
  const int64_t* ticket;
  int kept;
  T scale;

  DropoutFactors(const int64_t* ticket, double p)
      : ticket(ticket), kept(kept_values(p)), scale(kept > 0 ? T(65536.0 / kept) : T(0)) {}

  // The factors of a Philox block, for the elements first_element<per_block>(block) + 16 k: the cheapest way, where a
  // thread can choose its elements.
  __device__ void of_block(int64_t block, T (&factors)[per_block]) const {
    const PhiloxBlock random = philox(ticket, block);
#pragma unroll
    for (int k = 0; k < per_block; ++k) factors[k] = of_half(random, k);
  }

  // The factor of any element, for a Philox block of its own.
  __device__ T of_element(int64_t i) const { return of_half(philox(ticket, block_of(i)), half_of(i)); }

  // The factors of the elements i .. i + count - 1, i a multiple of count, count a divisor of 16.
  template <int count>
  __device__ void of_vector(int64_t i, T (&factors)[count]) const {
    static_assert(group_blocks % count == 0);
#pragma unroll
    for (int j = 0; j < count; ++j) factors[j] = of_half(philox(ticket, block_of(i) + j), half_of(i));
  }

 private:
  __device__ static int64_t block_of(int64_t i) {
    return i / (group_blocks * per_block) * group_blocks + i % group_blocks;
  }
  __device__ static int half_of(int64_t i) { return (int)(i / group_blocks % per_block); }
  __device__ T of_half(PhiloxBlock random, int k) const {
    const uint32_t word =
        k < 4 ? (k < 2 ? random.words[0] : random.words[1]) : (k < 6 ? random.words[2] : random.words[3]);
    return (int)(word >> (k % 2 * 16) & 0xffff) < kept ? scale : T(0);
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
