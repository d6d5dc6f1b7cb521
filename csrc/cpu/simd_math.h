// exp, log, tanh and their relatives for Vec<float> and Vec<double>, without branches.
//
// Largest errors measured on 200,000 random arguments of each type against mpmath, in units of the last place (float /
// double): exp 1.0 / 0.8, expm1 1.7 / 1.2, log 0.7 / 0.7, log1p 1.5 / 1.4, tanh 2.3 / 2.2, sigmoid 2.0 / 1.8, erf 1.2 /
// 0.9.
//
// Polynomials: Chebyshev interpolants computed in 50 digits (mpmath) on the reduced ranges named beside them.
#pragma once
#include <math.h>

#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// c[0] + c[1] x + c[2] x^2 + ...
template <typename T, int count>
SIMD_INLINE Vec<T> polynomial(Vec<T> x, const T (&c)[count]) {
  Vec<T> sum = c[count - 1];
#pragma GCC unroll 32
  for (int i = count - 2; i >= 0; --i) sum = fma(sum, x, Vec<T>(c[i]));
  return sum;
}

template <typename T>
struct FloatFormat;
template <>
struct FloatFormat<float> {
  static constexpr int mantissa_bits = 23, bias = 127;
  static constexpr float round_magic = 12582912.0f;  // 1.5 * 2^23: adding it leaves a whole number in the low bits
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  static constexpr float exp_min = -104.0f, exp_max = 89.0f;  // e^x is 0 below and infinite above
  static constexpr float smallest_normal = 0x1p-126f;
};
template <>
struct FloatFormat<double> {
  static constexpr int mantissa_bits = 52, bias = 1023;
  static constexpr double round_magic = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
  static constexpr double exp_min = -746.0, exp_max = 710.0;
  static constexpr double smallest_normal = 0x1p-1022;
};

// 2^n for whole n within the normal exponents.
template <typename T>
SIMD_INLINE Vec<T> power_of_two(Vec<IntegerLike<T>> n) {
  using F = FloatFormat<T>;
  return bitcast<T>((n + Vec<IntegerLike<T>>(F::bias)) << F::mantissa_bits);
}

// x = n ln 2 + r with |r| <= ln(2) / 2; expm1_r = e^r - 1.
template <typename T>
struct ExpReduction {
  Vec<IntegerLike<T>> n;
  Vec<T> expm1_r;
};

SIMD_INLINE Vec<float> exp_polynomial(Vec<float> r) {  // (e^r - 1 - r) / r^2 on |r| <= 0.3466, error 8e-9
  constexpr float c[] = {0.5f, 0.166665769896987757f, 0.0416665546172045742f, 0.00836317905272257737f,
                         0.00139261835877134945f};
  return polynomial(r, c);
}
SIMD_INLINE Vec<double> exp_polynomial(Vec<double> r) {  // error 2e-19
  constexpr double c[] = {0.5,
                          0.16666666666666671,
                          0.0416666666666666698,
                          0.00833333333332613513,
                          0.00138888888888837483,
                          0.000198412698748206253,
                          0.0000248015873255477412,
                          2.75572554002064244e-6,
                          2.75572736431102953e-7,
                          2.51052170047207452e-8,
                          2.09146869680868772e-9};
  return polynomial(r, c);
}

template <typename T>
SIMD_INLINE ExpReduction<T> reduce_exp(Vec<T> x) {
  using F = FloatFormat<T>;
  using I = IntegerLike<T>;
  Vec<T> shifted = fma(x, Vec<T>((T)1.44269504088896340736), Vec<T>(F::round_magic));
  Vec<T> n = shifted - Vec<T>(F::round_magic);
  Vec<T> r = fma(n, Vec<T>(-F::ln2_high), x);
  r = fma(n, Vec<T>(-F::ln2_low), r);
  Vec<I> whole = bitcast<I>(shifted) - bitcast<I>(Vec<T>(F::round_magic));
  return {whole, fma(r * r, exp_polynomial(r), r)};
}

template <typename T>
SIMD_INLINE Vec<T> exp(Vec<T> x) {
  using F = FloatFormat<T>;
  using I = IntegerLike<T>;
  x = min(Vec<T>(F::exp_max), max(Vec<T>(F::exp_min), x));  // nan stays: both return their second operand for it
  ExpReduction<T> reduced = reduce_exp(x);
  // Two factors, because 2^n itself may lie outside the normal range.
  Vec<I> half = reduced.n >> 1;
  Vec<T> e = reduced.expm1_r + Vec<T>((T)1);
  return e * power_of_two<T>(half) * power_of_two<T>(reduced.n - half);
}

template <typename T>
SIMD_INLINE Vec<T> expm1(Vec<T> x) {
  using F = FloatFormat<T>;
  using I = IntegerLike<T>;
  Vec<T> bounded = min(Vec<T>(F::exp_max), max(Vec<T>((T)-40), x));  // -1 below -40 in either type
  ExpReduction<T> reduced = reduce_exp(bounded);
  Vec<T> half_scale = power_of_two<T>(reduced.n - Vec<I>(1));
  Vec<T> result = fma(half_scale, reduced.expm1_r, half_scale - Vec<T>((T)0.5)) * Vec<T>((T)2);
  return select(x == Vec<T>{}, x, result);  // keeps -0
}

// 2 atanh(s) = 2 s + s * z * log_polynomial(z), z = s^2 <= (3 - 2 sqrt 2)^2
SIMD_INLINE Vec<float> log_polynomial(Vec<float> z) {  // error 6e-9 relative to z
  constexpr float c[] = {0.666666850954290687f, 0.39988757716604847f, 0.295809859299744226f};
  return polynomial(z, c);
}
SIMD_INLINE Vec<double> log_polynomial(Vec<double> z) {  // error 9e-18 relative to z
  constexpr double c[] = {0.666666666666666971, 0.399999999998988905, 0.285714286262538376, 0.222222110893794962,
                          0.181828924325368712, 0.153316117220550079, 0.14617807153417325};
  return polynomial(z, c);
}

template <typename T>
SIMD_INLINE Vec<T> log(Vec<T> x) {
  using F = FloatFormat<T>;
  using I = IntegerLike<T>;
  constexpr T infinity = (T)__builtin_inf();
  Mask<T> is_tiny = x < Vec<T>(F::smallest_normal);
  constexpr T enlarge = (T)((I)1 << (F::mantissa_bits + 1));
  Vec<T> normal = select(is_tiny, x * Vec<T>(enlarge), x);
  // x = m 2^e with m in [sqrt(1/2), sqrt(2))
  constexpr I sqrt_half_bits = sizeof(T) == 4 ? (I)0x3f3504f3 : (I)0x3fe6a09e667f3bcdLL;
  Vec<I> bits = bitcast<I>(normal) - Vec<I>(sqrt_half_bits);
  Vec<I> exponent = bits >> F::mantissa_bits;
  constexpr I mantissa_mask = ((I)1 << F::mantissa_bits) - 1;
  Vec<T> m = bitcast<T>((bits & Vec<I>(mantissa_mask)) + Vec<I>(sqrt_half_bits));
  Vec<T> e = bitcast<T>(exponent + bitcast<I>(Vec<T>(F::round_magic))) - Vec<T>(F::round_magic);
  e = select(is_tiny, e - Vec<T>((T)(F::mantissa_bits + 1)), e);
  // ln(1 + f) = f - (f^2 / 2 - s (f^2 / 2 + R)), s = f / (2 + f)
  Vec<T> f = m - Vec<T>((T)1);
  Vec<T> s = f / (Vec<T>((T)2) + f);
  Vec<T> z = s * s;
  Vec<T> half_square = Vec<T>((T)0.5) * f * f;
  Vec<T> tail = fma(s, half_square + z * log_polynomial(z), e * Vec<T>(F::ln2_low));
  Vec<T> result = fma(e, Vec<T>(F::ln2_high), f - (half_square - tail));
  result = select(x < Vec<T>(infinity), result, x);  // inf and nan are their own logarithm
  result = select(x == Vec<T>{}, Vec<T>(-infinity), result);
  return select(x < Vec<T>{}, Vec<T>((T)__builtin_nan("")), result);
}

// ln(u) + c / u, where u + c = 1 + x exactly.
template <typename T>
SIMD_INLINE Vec<T> log1p(Vec<T> x) {
  constexpr T infinity = (T)__builtin_inf();
  Vec<T> one((T)1);
  Vec<T> u = one + x;
  Vec<T> lost = select(abs(x) < one, x - (u - one), one - (u - x));
  Vec<T> result = log(u) + select(u > Vec<T>{}, lost / u, Vec<T>{});
  result = select(x == Vec<T>{}, x, result);  // keeps -0
  return select(x == Vec<T>(infinity), x, result);
}

// t / (t + 2) with t = e^(2 |x|) - 1
template <typename T>
SIMD_INLINE Vec<T> tanh(Vec<T> x) {
  Vec<T> doubled = min(Vec<T>((T)40), abs(x) + abs(x));  // tanh is 1 beyond 20 in either type
  Vec<T> t = expm1(doubled);
  return copysign(t / (t + Vec<T>((T)2)), x);
}

// e^-|x| / (1 + e^-|x|) below 0, 1 / (1 + e^-|x|) above: neither overflows nor cancels.
template <typename T>
SIMD_INLINE Vec<T> sigmoid(Vec<T> x) {
  Vec<T> e = exp(-abs(x));
  Vec<T> one((T)1);
  return select(x < Vec<T>{}, e, one) / (one + e);
}

// erf(x) = x + x E(x^2) for |x| <= 1
SIMD_INLINE Vec<float> erf_polynomial(Vec<float> z) {  // error 2e-9
  constexpr float c[] = {0.128379165848350946f,    -0.37612626666720331f,   0.112835947151602177f,
                         -0.0268542120106264124f,  0.00518908742343397399f, -0.000801686428716586953f,
                         0.0000787587506268548834f};
  return polynomial(z, c);
}
SIMD_INLINE Vec<double> erf_polynomial(Vec<double> z) {  // error 2e-19
  constexpr double c[] = {0.128379167095512574,    -0.376126389031837481,     0.112837916709548787,
                          -0.0268661706450767932,  0.00522397762481801447,    -0.000854832698083378991,
                          0.000120553311116427109, -0.0000149255952668311816, 1.6461000484121368e-6,
                          -1.6350312701054695e-7,  1.46597752740474358e-8,    -1.13728488567916737e-9,
                          5.9571761477489114e-11};
  return polynomial(z, c);
}

// (1 + 2 x) e^(x^2) erfc(x) for x >= 0 in t = (x - k) / (x + k), the form of Shepherd and Laframboise, 1981
SIMD_INLINE Vec<float> erfcx_scaled(Vec<float> x) {  // error 3e-8
  constexpr float c[] = {1.26483817122158616f,    -0.122356874489435357f,   -0.0990233504182084718f,
                         0.157632695991027119f,   -0.102983490640539385f,   0.0327377399924184857f,
                         0.00100926143596863854f, -0.00429124640220568259f, 0.00034832348361955143f,
                         0.000466626313261443256f};
  return polynomial((x - Vec<float>(2.5f)) / (x + Vec<float>(2.5f)), c);
}
SIMD_INLINE Vec<double> erfcx_scaled(Vec<double> x) {  // error 2e-17
  constexpr double c[] = {
      1.23751263083782758,      -0.140240598585546701,    0.00358541548546329713,    0.0822767384901140362,
      -0.108803930141685278,    0.0923043211614773968,    -0.0586933985909042636,    0.0283622774010291219,
      -0.0097465795467645253,   0.00175562601493282899,   0.000293713623374060857,   -0.000290154969808545248,
      0.0000516490807228506104, 0.0000223873333517746188, -0.0000114433867156477346, -9.80455114636572299e-7,
      1.74865855244299229e-6,   -4.76001659996885813e-8,  -2.52962344394385087e-7,   1.54475202102414712e-8,
      3.28586224491364486e-8,   -6.59347210973700063e-10, -2.33770631252267885e-9};
  return polynomial((x - Vec<double>(3.75)) / (x + Vec<double>(3.75)), c);
}

// e^(-scale x^2); scale is a power of two. x^2 as high^2 + (x - high)(x + high), whose rounding errors stay small in
// the exponent where those of x * x would grow with it.
template <typename T>
SIMD_INLINE Vec<T> gaussian(Vec<T> x, T scale) {
  using I = IntegerLike<T>;
  constexpr I upper_half = sizeof(T) == 4 ? (I)0xfffff000 : (I)0xffffffff00000000LL;
  Vec<T> high = bitcast<T>(bitcast<I>(x) & Vec<I>(upper_half));
  Vec<T> low_square = (x - high) * (x + high);
  return exp(-(high * high) * Vec<T>(scale)) * exp(-low_square * Vec<T>(scale));
}

// erfc(x) = 1 - erf(x) for x >= 0 without cancellation; 0 beyond 27.3, where it underflows in either type.
template <typename T>
SIMD_INLINE Vec<T> erfc_positive(Vec<T> x) {
  Vec<T> bounded = min(Vec<T>((T)27.3), x);
  return gaussian(bounded, (T)1) * erfcx_scaled(bounded) / fma(bounded, Vec<T>((T)2), Vec<T>((T)1));
}

template <typename T>
SIMD_INLINE Vec<T> erf(Vec<T> x) {
  Vec<T> magnitude = abs(x);
  Vec<T> small = fma(x, erf_polynomial(x * x), x);
  Vec<T> large = copysign(Vec<T>((T)1) - erfc_positive(magnitude), x);
  return select(magnitude > Vec<T>((T)1), large, small);
}

// Phi(x) = erfc(-x / sqrt 2) / 2, the normal distribution function, with relative accuracy in both tails.
template <typename T>
SIMD_INLINE Vec<T> normal_cdf(Vec<T> x) {
  Vec<T> magnitude = min(Vec<T>((T)38.6), abs(x));
  Vec<T> scaled = magnitude * Vec<T>((T)0.70710678118654752440);
  Vec<T> tail = gaussian(magnitude, (T)0.5) * erfcx_scaled(scaled) / fma(scaled, Vec<T>((T)4), Vec<T>((T)2));
  return select(x > Vec<T>{}, Vec<T>((T)1) - tail, tail);
}

// phi(x) = e^(-x^2 / 2) / sqrt(2 pi)
template <typename T>
SIMD_INLINE Vec<T> normal_pdf(Vec<T> x) {
  return Vec<T>((T)0.39894228040143267794) * exp(Vec<T>((T)-0.5) * x * x);
}

// a ^ b lane by lane through libm, which knows every special case.
SIMD_INLINE Vec<float> pow(Vec<float> a, Vec<float> b) {
  for (int i = 0; i < Vec<float>::width; ++i) a.lanes[i] = ::powf(a.lanes[i], b.lanes[i]);
  return a;
}
SIMD_INLINE Vec<double> pow(Vec<double> a, Vec<double> b) {
  for (int i = 0; i < Vec<double>::width; ++i) a.lanes[i] = ::pow(a.lanes[i], b.lanes[i]);
  return a;
}

}  // namespace
}  // namespace MINIDL_TARGET
