// Any CPU: 16-byte vectors in plain C++ (SSE2 on x86-64, NEON on Arm). Same names as avx2/isa.h and avx512/isa.h.
#pragma once
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace MINIDL_TARGET {
namespace {

constexpr int vector_bytes = 16;
constexpr int vector_registers = 16;
// Whether one instruction brings a number from memory into every lane, at no more cost than a whole vector.
#ifdef __SSE2__
constexpr bool has_broadcast_load = false;
#else
constexpr bool has_broadcast_load = true;
#endif

template <typename Native>
inline Native native_sqrt(Native x) {
  for (unsigned i = 0; i < sizeof(x) / sizeof(x[0]); ++i)
    x[i] = sizeof(x[0]) == 4 ? __builtin_sqrtf(x[i]) : __builtin_sqrt(x[i]);
  return x;
}

// The first count lanes from memory, zero in the others; never reads beyond them.
template <typename Native, typename T>
inline Native native_load_partial(const T* from, int count) {
  Native lanes{};
  memcpy(&lanes, from, count * sizeof(T));
  return lanes;
}

template <typename Native, typename T>
inline void native_store_partial(T* to, Native lanes, int count) {
  memcpy(to, &lanes, count * sizeof(T));
}

// Stores past the caches where there is an instruction for it, to an address that is a multiple of vector_bytes.
template <typename T, typename Native>
inline void native_stream(T* to, Native lanes) {
#ifdef __SSE2__
  _mm_stream_si128((__m128i*)to, (__m128i)lanes);
#else
  memcpy(to, &lanes, sizeof lanes);
#endif
}
inline void native_finish_streams() {
#ifdef __SSE2__
  _mm_sfence();
#endif
}

template <typename Native>
inline bool native_any(Native lanes) {
  uint64_t halves[2];
  memcpy(halves, &lanes, sizeof halves);
  return (halves[0] | halves[1]) != 0;
}

// 64-bit products of the even 32-bit lanes.
template <typename Wide, typename Narrow>
inline Wide native_multiply_even(Narrow a, Narrow b) {
  return (reinterpret_cast<Wide>(a) & 0xffffffffu) * (reinterpret_cast<Wide>(b) & 0xffffffffu);
}

}  // namespace
}  // namespace MINIDL_TARGET
