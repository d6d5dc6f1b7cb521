// In place of csrc/cuda/ptx.cuh: what its instructions do, in C++. Copies land no sooner than the wait for them, and a
// fragment is read from the registers of all lanes as the hardware lays it out.
#pragma once
#include <cuda_runtime.h>
#include <stdint.h>

#include <bit>

namespace MINIDL_TARGET {
namespace {

// Blocks run one after the other, so kernels take the way of GPUs without clusters.
constexpr bool has_clusters = false;
inline void sync_cluster() {}
template <typename T>
T load_from_block_of_cluster(const T*, unsigned) {
  return {};
}

// Of the architecture that a build stands for: without, kernels take the way of sm_75.
#ifdef CUDA_EMULATOR_WITHOUT_ASYNC_COPIES
constexpr bool has_async_copies = false;
#else
constexpr bool has_async_copies = true;
#endif

// A kernel of the emulator starts when those before it have ended.
inline void follow_earlier_kernels() {}

template <int bytes, int offset_bytes = 0>
void copy_async(void* shared, const void* from, bool is_wanted, emulator::Site site = emulator::Site::here()) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  const void* global = static_cast<const char*>(from) + offset_bytes;
  if ((uintptr_t)shared % bytes != 0 || (is_wanted && (uintptr_t)global % bytes != 0))
    emulator::fail(site, "an asynchronous copy of %d bytes to %p from %p, which are not aligned to as many", bytes,
                   shared, global);
  auto* words = static_cast<uint32_t*>(shared);
  for (int i = 0; i < bytes / 4; ++i) words[i] = 0xffffffffu;  // nan until the wait
  emulator::begin_copy({shared, global, bytes, is_wanted ? bytes : 0});
}

template <bool is_available = has_async_copies>
void close_copy_group() {
  if (is_available) emulator::close_copy_group();
}

template <int groups, bool is_available = has_async_copies>
void wait_for_copies() {
  if (!is_available) return;
  emulator::CopyUnderWay copy;
  while (emulator::take_landed_copy(groups, &copy)) {
    auto* to = static_cast<uint32_t*>(copy.to);
    auto* from = static_cast<const uint32_t*>(copy.from);
    for (int i = 0; i < copy.bytes / 4; ++i) to[i] = 4 * i < copy.copied_bytes ? from[i] : 0;
  }
}

inline uint32_t round_to_tf32(float x) {
  return std::bit_cast<uint32_t>(x) + (fabsf(x) < INFINITY ? 0x1000u : 0u);  // the bits below are the multiplication's
}

inline uint32_t round_to_bfloat16(float x) {
  auto bits = std::bit_cast<uint32_t>(x);
  if (x != x) return 0x7fff;
  return (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
}

inline uint32_t round_to_bfloat16_pair(float low, float high) {
  return round_to_bfloat16(high) << 16 | round_to_bfloat16(low);
}

// sum[i] += row of a times column of b, a and b read from the lanes that hold them. value(register, step) is the number
// that a register of 32 bits has for a step: TF32 has one in a register, bfloat16 two.
template <int steps_per_register, typename Value>
void multiply_add_fragments(const char* instruction, float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                            emulator::Site site, Value value) {
  uint32_t brought[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  emulator::WarpMeeting meeting(instruction, 0xffffffffu, brought, sizeof brought, site);
  uint32_t registers[32][6];
  for (unsigned lane = 0; lane < 32; ++lane) meeting.read(lane, registers[lane], sizeof registers[lane]);
  int group = (int)emulator::current->lane / 4, place = (int)emulator::current->lane % 4;
  for (int i = 0; i < 4; ++i) {
    int lower_half = i / 2, column = 2 * place + i % 2;
    for (int half = 0; half < 2; ++half)  // of the steps
      for (int quad_lane = 0; quad_lane < 4; ++quad_lane)
        for (int step = 0; step < steps_per_register; ++step)
          sum[i] = fmaf(value(registers[4 * group + quad_lane][lower_half + 2 * half], step),
                        value(registers[4 * column + quad_lane][4 + half], step), sum[i]);
  }
}

inline void multiply_add_tf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              emulator::Site site = emulator::Site::here()) {
  multiply_add_fragments<1>("mma.m16n8k8", sum, a, b, site, [](uint32_t bits, int) {
    return std::bit_cast<float>(bits & 0xffffe000u);  // the hardware does not look at the rest
  });
}

inline void multiply_add_bfloat16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                  emulator::Site site = emulator::Site::here()) {
  multiply_add_fragments<2>("mma.m16n8k16", sum, a, b, site, [](uint32_t bits, int step) {
    return std::bit_cast<float>(step == 0 ? bits << 16 : bits & 0xffff0000u);
  });
}

}  // namespace
}  // namespace MINIDL_TARGET
