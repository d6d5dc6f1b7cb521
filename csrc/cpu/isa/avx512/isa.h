// AVX-512 (F, BW, DQ, VL): 64-byte vectors, 32 registers, masks for the edges.
#pragma once
#include <immintrin.h>
#include <stdint.h>

namespace MINIDL_TARGET {
namespace {

constexpr int vector_bytes = 64;
constexpr int vector_registers = 32;
constexpr bool has_broadcast_load = true;

inline __m512 native_sqrt(__m512 x) { return _mm512_maskz_sqrt_ps((__mmask16)-1, x); }
inline __m512d native_sqrt(__m512d x) { return _mm512_maskz_sqrt_pd((__mmask8)-1, x); }
inline __m512 native_min(__m512 a, __m512 b) { return _mm512_maskz_min_ps((__mmask16)-1, a, b); }
inline __m512d native_min(__m512d a, __m512d b) { return _mm512_maskz_min_pd((__mmask8)-1, a, b); }
inline __m512 native_max(__m512 a, __m512 b) { return _mm512_maskz_max_ps((__mmask16)-1, a, b); }
inline __m512d native_max(__m512d a, __m512d b) { return _mm512_maskz_max_pd((__mmask8)-1, a, b); }

// Approximations with a relative error below 2^-14.
inline __m512 native_reciprocal(__m512 x) { return _mm512_maskz_rcp14_ps((__mmask16)-1, x); }
inline __m512 native_rsqrt(__m512 x) { return _mm512_maskz_rsqrt14_ps((__mmask16)-1, x); }

// a b - c, rounded once: the compiler would take a product that is c itself to be so here as well.
inline __m512 native_multiply_subtract(__m512 a, __m512 b, __m512 c) {
  return _mm512_maskz_fmsub_ps((__mmask16)-1, a, b, c);
}

// x 2^n for whole n, rounded once.
inline __m512 native_scale(__m512 x, __m512 n) { return _mm512_maskz_scalef_ps((__mmask16)-1, x, n); }
inline __m512d native_scale(__m512d x, __m512d n) { return _mm512_maskz_scalef_pd((__mmask8)-1, x, n); }

inline __mmask16 first_lanes_32(int count) { return (__mmask16)((1u << count) - 1); }
inline __mmask8 first_lanes_64(int count) { return (__mmask8)((1u << count) - 1); }

// The lower and the upper half of the lanes as doubles, and back.
inline __m512d native_low_in_double(__m512 x) {
  return _mm512_maskz_cvtps_pd((__mmask8)-1, __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m512d native_high_in_double(__m512 x) {
  return _mm512_maskz_cvtps_pd((__mmask8)-1, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15));
}
inline __m512 native_from_doubles(__m512d low, __m512d high) {
  return __builtin_shufflevector(_mm512_maskz_cvtpd_ps((__mmask8)-1, low), _mm512_maskz_cvtpd_ps((__mmask8)-1, high), 0,
                                 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// table[index % 32], or % 16, in every lane.
template <typename Index>
inline __m512 native_lookup(const float (&table)[32], Index index) {
  return _mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)index, _mm512_loadu_ps(table + 16));
}
template <typename Index>
inline __m512 native_lookup(const float (&table)[16], Index index) {
  return _mm512_maskz_permutexvar_ps((__mmask16)-1, (__m512i)index, _mm512_loadu_ps(table));
}

// |x| = mantissa 2^exponent with 0.75 <= mantissa < 1.5; 1 and an infinite exponent at 0 and infinity, nan below 0.
inline __m512 native_mantissa(__m512 x) {
  return _mm512_maskz_getmant_ps((__mmask16)-1, x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
}
inline __m512 native_exponent(__m512 x, __m512 mantissa) {
  return _mm512_maskz_getexp_ps((__mmask16)-1, x) - _mm512_maskz_getexp_ps((__mmask16)-1, mantissa);
}

// The first count lanes from memory, zero in the others; never reads beyond them.
template <typename Native, typename T>
inline Native native_load_partial(const T* from, int count) {
  if constexpr (sizeof(T) == 4)
    return (Native)_mm512_maskz_loadu_epi32(first_lanes_32(count), from);
  else
    return (Native)_mm512_maskz_loadu_epi64(first_lanes_64(count), from);
}

template <typename Native, typename T>
inline void native_store_partial(T* to, Native lanes, int count) {
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_epi32(to, first_lanes_32(count), (__m512i)lanes);
  else
    _mm512_mask_storeu_epi64(to, first_lanes_64(count), (__m512i)lanes);
}

// Stores past the caches, to an address that is a multiple of vector_bytes.
template <typename T, typename Native>
inline void native_stream(T* to, Native lanes) {
  _mm512_stream_si512((__m512i*)to, (__m512i)lanes);
}
inline void native_finish_streams() { _mm_sfence(); }

template <typename Native>
inline bool native_any(Native lanes) {
  return _mm512_movepi32_mask((__m512i)lanes) != 0;
}

// 64-bit products of the even 32-bit lanes.
template <typename Wide, typename Narrow>
inline Wide native_multiply_even(Narrow a, Narrow b) {
  return (Wide)_mm512_maskz_mul_epu32((__mmask8)-1, (__m512i)a, (__m512i)b);
}

}  // namespace
}  // namespace MINIDL_TARGET
