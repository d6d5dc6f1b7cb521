// Normal numbers from random bits: Box and Muller 1958. Operation for operation the CPU's, and to be compiled with
// --fmad=false, so that both round alike.
#pragma once
#include <type_traits>

#include "philox.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct NormalConstants;

// log: (2 atanh(s) / s - 2) / z in z = s^2, lowest order first, as on the CPU. ln2_hi is short: its products with
// exponents are exact.
template <>
struct NormalConstants<float> {
  using Bits = uint32_t;
  static constexpr int mantissa_bits = 23, exponent_bias = 127, wave_terms = 6;
  static constexpr uint32_t sqrt_half_bits = 0x3f3504f3u, one_bits = 0x3f800000u;
  static constexpr float ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
  static constexpr float quarter_turn = (float)(1.57079632679489661923 / 0x1p32);
  static constexpr int log_terms = 3;
  __device__ static constexpr float log(int i) {
    constexpr float coefficients[] = {0.666667759f, 0.399775565f, 0.298720121f};
    return coefficients[i];
  }
};

template <>
struct NormalConstants<double> {
  using Bits = uint64_t;
  static constexpr int mantissa_bits = 52, exponent_bias = 1023, wave_terms = 9;
  static constexpr uint64_t sqrt_half_bits = 0x3fe6a09e667f3bcdu, one_bits = 0x3ff0000000000000u;
  static constexpr double ln2_hi = 0x1.62e42feep-1, ln2_lo = 0x1.a39ef35793c76p-33;
  static constexpr double quarter_turn = 1.57079632679489661923 / 0x1p64;
  static constexpr int log_terms = 7;
  __device__ static constexpr double log(int i) {
    constexpr double coefficients[] = {0.66666666666667351, 0.39999999999408814, 0.28571428743890082,
                                       0.22222198401304291, 0.18183574089902801, 0.15313781120797654,
                                       0.14798829457914989};
    return coefficients[i];
  }
};

// ln(x) for normal x > 0: x = (1 + f) 2^exponent, sqrt(1/2) <= 1 + f <= sqrt(2), by 2 atanh(f / (2 + f)).
template <typename T>
__device__ T log_of_normal(T x) {
  using C = NormalConstants<T>;
  using Bits = typename C::Bits;
  const Bits bits = __builtin_bit_cast(Bits, x) + (C::one_bits - C::sqrt_half_bits);
  const T exponent = (T)((int)(bits >> C::mantissa_bits) - C::exponent_bias);
  const Bits mantissa = (bits & ((Bits(1) << C::mantissa_bits) - 1)) + C::sqrt_half_bits;
  const T f = __builtin_bit_cast(T, mantissa) - T(1);
  const T half_square = T(0.5) * f * f;
  const T s = f / (T(2) + f), z = s * s;
  T series = C::log(C::log_terms - 1);
#pragma unroll
  for (int i = C::log_terms - 2; i >= 0; --i) series = series * z + C::log(i);
  const T tail = s * (z * series + half_square) + exponent * C::ln2_lo;
  return exponent * C::ln2_hi + (f - (half_square - tail));
}

template <typename T>
struct Wave {
  T cos, sin;
};

// cos and sin of turn * 2 pi / 2^bits: the two top bits, rounded, are the quadrant, the rest at most pi / 4 either way,
// where these Taylor polynomials are exact to the last bit or so.
template <typename T, typename Bits>
__device__ Wave<T> wave(Bits turn) {
  using C = NormalConstants<T>;
  using Signed = std::make_signed_t<Bits>;
  constexpr int bits = 8 * sizeof(T);
  const T x = (T)(Signed)(turn << 2) * C::quarter_turn;
  const T square = x * x;
  T cosine = 0, sine = 0;
#pragma unroll
  for (int n = C::wave_terms - 1; n >= 0; --n) {  // 1 - x^2 / (1 * 2) (1 - x^2 / (3 * 4) (...)) and likewise for sin
    cosine = T(1) - square * T(1.0 / ((2 * n + 1) * (2 * n + 2))) * cosine;
    sine = T(1) - square * T(1.0 / ((2 * n + 2) * (2 * n + 3))) * sine;
  }
  sine = sine * x;
  const Bits quadrant = (turn + (Bits(1) << (bits - 3))) >> (bits - 2);
  const bool is_odd = quadrant & 1;
  auto flip_sign = [](T value, Bits quadrant) {
    return __builtin_bit_cast(T, __builtin_bit_cast(Bits, value) ^ ((quadrant & 2) << (bits - 2)));
  };
  return {flip_sign(is_odd ? sine : cosine, quadrant + 1), flip_sign(is_odd ? cosine : sine, quadrant)};
}

// Two numbers of mean 0 and deviation 1 from two draws; u in (0, 1].
template <typename T, typename Bits>
__device__ Wave<T> box_muller(Bits draw, Bits turn) {
  T u;
  if constexpr (sizeof(T) == sizeof(float))
    u = ((float)draw + 0.5f) * 0x1p-32f;
  else
    u = ((double)(int64_t)(draw >> 12) + 0.5) * 0x1p-52;
  const T radius = sqrt(T(-2) * log_of_normal(u));
  const Wave<T> angle = wave<T>(turn);
  return {radius * angle.cos, radius * angle.sin};
}

}  // namespace
}  // namespace MINIDL_TARGET
