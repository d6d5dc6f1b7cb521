// AVX2 with FMA: 32-byte vectors, 16 registers.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace MINIDL_TARGET {
namespace {

constexpr int vector_bytes = 32;
constexpr int vector_registers = 16;
constexpr bool has_broadcast_load = true;

inline __m256 native_sqrt(__m256 x) { return _mm256_sqrt_ps(x); }
inline __m256d native_sqrt(__m256d x) { return _mm256_sqrt_pd(x); }
inline __m256 native_min(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
inline __m256d native_min(__m256d a, __m256d b) { return _mm256_min_pd(a, b); }
inline __m256 native_max(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
inline __m256d native_max(__m256d a, __m256d b) { return _mm256_max_pd(a, b); }

inline __m256i first_lanes_32(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first_lanes_64(int count) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}

// The first count lanes from memory, zero in the others; never reads beyond them.
template <typename Native, typename T>
inline Native native_load_partial(const T* from, int count) {
  if constexpr (sizeof(T) == 4)
    return (Native)_mm256_maskload_epi32((const int*)from, first_lanes_32(count));
  else
    return (Native)_mm256_maskload_epi64((const long long*)from, first_lanes_64(count));
}

template <typename Native, typename T>
inline void native_store_partial(T* to, Native lanes, int count) {
  if constexpr (sizeof(T) == 4)
    _mm256_maskstore_epi32((int*)to, first_lanes_32(count), (__m256i)lanes);
  else
    _mm256_maskstore_epi64((long long*)to, first_lanes_64(count), (__m256i)lanes);
}

// Stores past the caches, to an address that is a multiple of vector_bytes.
template <typename T, typename Native>
inline void native_stream(T* to, Native lanes) {
  _mm256_stream_si256((__m256i*)to, (__m256i)lanes);
}
inline void native_finish_streams() { _mm_sfence(); }

// The lower and the upper half of the lanes as doubles, and back.
inline __m256d native_low_in_double(__m256 x) { return _mm256_cvtps_pd(_mm256_castps256_ps128(x)); }
inline __m256d native_high_in_double(__m256 x) { return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)); }
inline __m256 native_from_doubles(__m256d low, __m256d high) {
  return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
}

template <typename Native>
inline bool native_any(Native lanes) {
  return _mm256_movemask_epi8((__m256i)lanes) != 0;
}

// 64-bit products of the even 32-bit lanes.
template <typename Wide, typename Narrow>
inline Wide native_multiply_even(Narrow a, Narrow b) {
  return (Wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
}

}  // namespace
}  // namespace MINIDL_TARGET
