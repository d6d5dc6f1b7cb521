// The instructions with which the threads of a warp and of a block meet.
#pragma once
#include <type_traits>

#include "thread.h"

#define EMULATOR_SITE emulator::Site site = emulator::Site::here()

namespace emulator {

constexpr unsigned whole_warp = 0xffffffffu;

// The value of another lane of the mask.
template <typename T>
T shuffle(const char* instruction, unsigned mask, T value, unsigned source, Site site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "CUDA shuffles numbers of 4 and 8 bytes");
  WarpMeeting meeting(instruction, mask, &value, sizeof value, site);
  T result;
  meeting.read(source, &result, sizeof result);
  return result;
}

template <typename T, typename Combine>
T reduce_lanes(const char* instruction, unsigned mask, T value, Site site, Combine combine) {
  WarpMeeting meeting(instruction, mask, &value, sizeof value, site);
  bool is_first = true;
  T result{};
  for (unsigned lane = 0; lane < warp_lanes; ++lane) {
    if (!(meeting.mask() >> lane & 1)) continue;
    T other;
    meeting.read(lane, &other, sizeof other);
    result = is_first ? other : combine(result, other);
    is_first = false;
  }
  return result;
}

inline unsigned ballot(const char* instruction, unsigned mask, bool value, Site site) {
  unsigned bit = value ? 1u << current->lane : 0u;
  return reduce_lanes(instruction, mask, bit, site, [](unsigned a, unsigned b) { return a | b; });
}

}  // namespace emulator

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_SITE) {
  unsigned segment = emulator::current->lane & ~(unsigned)(width - 1);
  return emulator::shuffle("__shfl_sync", mask, value, segment + ((unsigned)source & (unsigned)(width - 1)), site);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance, int width = 32, EMULATOR_SITE) {
  unsigned lane = emulator::current->lane, source = lane ^ (unsigned)distance;
  unsigned segment_end = (lane & ~(unsigned)(width - 1)) + (unsigned)width;
  return emulator::shuffle("__shfl_xor_sync", mask, value, source < segment_end ? source : lane, site);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, EMULATOR_SITE) {
  unsigned lane = emulator::current->lane, place = lane & (unsigned)(width - 1);
  bool is_inside = place + distance < (unsigned)width;
  return emulator::shuffle("__shfl_down_sync", mask, value, is_inside ? lane + distance : lane, site);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, EMULATOR_SITE) {
  unsigned lane = emulator::current->lane, place = lane & (unsigned)(width - 1);
  return emulator::shuffle("__shfl_up_sync", mask, value, place >= distance ? lane - distance : lane, site);
}

inline unsigned __ballot_sync(unsigned mask, int value, EMULATOR_SITE) {
  return emulator::ballot("__ballot_sync", mask, value != 0, site);
}
inline int __any_sync(unsigned mask, int value, EMULATOR_SITE) {
  return emulator::ballot("__any_sync", mask, value != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int value, EMULATOR_SITE) {
  return emulator::ballot("__all_sync", mask, value == 0, site) == 0;
}
template <typename T>
T __reduce_add_sync(unsigned mask, T value, EMULATOR_SITE) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4);
  return emulator::reduce_lanes("__reduce_add_sync", mask, value, site,
                                [](T a, T b) { return T(unsigned(a) + unsigned(b)); });
}
template <typename T>
T __reduce_max_sync(unsigned mask, T value, EMULATOR_SITE) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4);
  return emulator::reduce_lanes("__reduce_max_sync", mask, value, site, [](T a, T b) { return a > b ? a : b; });
}
template <typename T>
T __reduce_min_sync(unsigned mask, T value, EMULATOR_SITE) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4);
  return emulator::reduce_lanes("__reduce_min_sync", mask, value, site, [](T a, T b) { return a < b ? a : b; });
}

// Of the meetings of a warp only this one orders memory.
inline void __syncwarp(unsigned mask = emulator::whole_warp, EMULATOR_SITE) {
  emulator::WarpMeeting("__syncwarp", mask, nullptr, 0, site, true);
}

inline void __syncthreads(EMULATOR_SITE) { emulator::meet_block(false, site); }
inline int __syncthreads_count(int value, EMULATOR_SITE) { return emulator::meet_block(value != 0, site); }
inline int __syncthreads_or(int value, EMULATOR_SITE) { return emulator::meet_block(value != 0, site) != 0; }
inline int __syncthreads_and(int value, EMULATOR_SITE) { return emulator::meet_block(value == 0, site) == 0; }

#undef EMULATOR_SITE
