// AVX-512 (F, BW, DQ, VL): 64-byte vectors, 32 registers, masks for the edges.
#pragma once
#include <immintrin.h>
#include <stdint.h>

// AVX512-BF16, which not every CPU with AVX-512 has: only functions marked so use it.
#define BFLOAT16_CODE __attribute__((target("avx512bf16")))

namespace MINIDL_TARGET {
namespace {

constexpr int vector_bytes = 64;
constexpr int vector_registers = 32;

inline __m512 native_sqrt(__m512 x) { return _mm512_maskz_sqrt_ps((__mmask16)-1, x); }
inline __m512d native_sqrt(__m512d x) { return _mm512_maskz_sqrt_pd((__mmask8)-1, x); }
inline __m512 native_min(__m512 a, __m512 b) { return _mm512_maskz_min_ps((__mmask16)-1, a, b); }
inline __m512d native_min(__m512d a, __m512d b) { return _mm512_maskz_min_pd((__mmask8)-1, a, b); }
inline __m512 native_max(__m512 a, __m512 b) { return _mm512_maskz_max_ps((__mmask16)-1, a, b); }
inline __m512d native_max(__m512d a, __m512d b) { return _mm512_maskz_max_pd((__mmask8)-1, a, b); }

// x 2^n for whole n, rounded once.
inline __m512 native_scale(__m512 x, __m512 n) { return _mm512_maskz_scalef_ps((__mmask16)-1, x, n); }
inline __m512d native_scale(__m512d x, __m512d n) { return _mm512_maskz_scalef_pd((__mmask8)-1, x, n); }

inline __mmask16 first_lanes_32(int count) { return (__mmask16)((1u << count) - 1); }
inline __mmask8 first_lanes_64(int count) { return (__mmask8)((1u << count) - 1); }

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

// Rounded to bfloat16, to nearest, ties to even: lane i holds a[i] in its lower half and b[i] in its upper one.
BFLOAT16_CODE inline __m512i native_round_lanes_to_pairs(__m512 a, __m512 b) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_maskz_permutexvar_epi16((__mmask32)-1, order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}
// The same of neighbours: a[0] and a[1] in lane 0, ..., b[14] and b[15] in lane 15.
BFLOAT16_CODE inline __m512i native_round_neighbours_to_pairs(__m512 a, __m512 b) {
  return (__m512i)_mm512_cvtne2ps_pbh(b, a);
}
// sum + the products of the lower halves + those of the upper ones.
template <typename Pairs>
BFLOAT16_CODE inline __m512 native_add_products_of_pairs(__m512 sum, Pairs a, Pairs b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

}  // namespace
}  // namespace MINIDL_TARGET
