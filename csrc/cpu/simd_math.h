// Elementary functions on Vec<float> and Vec<double>; one source for every instruction set, with or without FMA. Where
// a vector is looked up in a table by one instruction, piecewise polynomials take half the time of what is written for
// all. "Measured" is the largest error in ulp (float, double) found on a sample - at least every 1997th float against
// libm's double, 500,000 doubles against x87 long double - on the worst of baseline, AVX2 and AVX-512. Signs of zero,
// infinities, nan and denormals were in it.
#pragma once
#include "polynomial.h"
#include "simd.h"
#include "simd_math_constants.h"
#include "simd_math_tables.h"

namespace MINIDL_TARGET {
namespace {

template <typename T>
using UnsignedLike = typename MathConstants<T>::Unsigned;

template <typename T>
concept HasReciprocal = requires(Vec<T> x) { native_reciprocal(x.lanes); };

// a / b for b between 2^-100 and 2^100 and |a| <= 2^25 b: an estimate, corrected once where there is one, costs half a
// division. Measured: 0.55, 0.50.
template <typename T>
SIMD_INLINE Vec<T> divide_by_normal(Vec<T> a, Vec<T> b) {
  if constexpr (HasReciprocal<T>) {
    Vec<T> reciprocal(native_reciprocal(b.lanes));
    Vec<T> quotient = a * reciprocal;
    return fma(fma(-quotient, b, a), reciprocal, quotient);
  } else {
    return a / b;
  }
}

// 1 / sqrt(x). Measured: 1.04 (float).
template <typename T>
SIMD_INLINE Vec<T> rsqrt(Vec<T> x) {
  const Vec<T> one(T(1)), infinity((T)__builtin_inff());
  if constexpr (requires { native_rsqrt(x.lanes); }) {
    Vec<T> estimate(native_rsqrt(x.lanes));
    Vec<T> error = fma(x * estimate, -estimate, one);
    // nothing to correct at 0 and infinity, and infinity times 0 to be made
    return select((x == Vec<T>{}) | (x == infinity), estimate, fma(estimate * Vec<T>(T(0.5)), error, estimate));
  } else {
    return one / sqrt(x);
  }
}

// bits are those of round_magic + n: 2^n, for n within the exponents of normal numbers.
template <typename T>
SIMD_INLINE Vec<T> power_of_two(Vec<UnsignedLike<T>> bits) {
  using C = MathConstants<T>;
  return bitcast<T>((bits + Vec<UnsignedLike<T>>(C::exponent_bias)) << C::mantissa_bits);
}

// A number as n ln(2) + remainder, |remainder| <= ln(2) / 2.
template <typename T>
struct ExpArgument {
  Vec<T> shifted;  // n + round_magic
  Vec<T> n, remainder;
};

// Takes x apart; nearby, which is close to it, chooses n.
template <typename T>
SIMD_INLINE ExpArgument<T> reduce_exp_argument(Vec<T> nearby, Vec<T> x) {
  using C = MathConstants<T>;
  Vec<T> shifted = fma(nearby, Vec<T>(T(1.44269504088896340736)), Vec<T>(C::round_magic));
  Vec<T> n = shifted - Vec<T>(C::round_magic);
  return {shifted, n, fma(n, Vec<T>(-C::ln2_lo), fma(n, Vec<T>(-C::ln2_hi), x))};
}

// e^r - 1 for |r| <= ln(2) / 2.
template <typename T>
SIMD_INLINE Vec<T> expm1_of_remainder(Vec<T> r) {
  return fma(r * r, polynomial(r, MathConstants<T>::exp), r);
}

// x 2^n; in two steps where there is no instruction, so that denormal results and 2^n beyond the largest number come
// out right.
template <typename T>
SIMD_INLINE Vec<T> scale(Vec<T> x, const ExpArgument<T>& argument) {
  using U = UnsignedLike<T>;
  if constexpr (requires { native_scale(x.lanes, x.lanes); }) return Vec<T>(native_scale(x.lanes, argument.n.lanes));
  Vec<U> half = bitcast<U>(fma(argument.n, Vec<T>(T(0.5)), Vec<T>(MathConstants<T>::round_magic)));
  Vec<U> rest = bitcast<U>(argument.shifted) - half;
  return x * power_of_two<T>(half) * power_of_two<T>(rest);
}

// e^x. Measured: 0.99, 0.96.
template <typename T>
SIMD_INLINE Vec<T> exp(Vec<T> x) {
  using C = MathConstants<T>;
  Vec<T> bounded = min(Vec<T>(C::exp_max), max(Vec<T>(C::exp_min), x));
  auto argument = reduce_exp_argument(bounded, bounded);
  return scale(Vec<T>(T(1)) + expm1_of_remainder(argument.remainder), argument);
}

// e^x - 1, also for tiny x. Measured: 1.55, 1.88.
template <typename T>
SIMD_INLINE Vec<T> expm1(Vec<T> x) {
  using C = MathConstants<T>;
  using U = UnsignedLike<T>;
  Vec<T> bounded = min(Vec<T>(C::exp_max), max(Vec<T>(C::expm1_min), x));
  auto argument = reduce_exp_argument(bounded, bounded);
  // 2 (2^(n-1) (e^r - 1) + 2^(n-1) - 1/2): 2^n alone may overflow. Where n is 0, halving would round denormals.
  Vec<T> of_remainder = expm1_of_remainder(argument.remainder);
  Vec<T> half_scale = power_of_two<T>(bitcast<U>(argument.shifted) - Vec<U>(1));
  Vec<T> half = fma(half_scale, of_remainder, half_scale - Vec<T>(T(0.5)));
  return copysign(select(argument.n == Vec<T>{}, of_remainder, half + half), x);
}

// ln(1 + f) + exponent ln(2) + correction for sqrt(1/2) <= 1 + f <= sqrt(2), by 2 atanh(f / (2 + f)) as in Sun's
// fdlibm.
template <typename T>
SIMD_INLINE Vec<T> log_of_parts(Vec<T> f, Vec<T> exponent, Vec<T> correction) {
  using C = MathConstants<T>;
  Vec<T> half_square = Vec<T>(T(0.5)) * f * f;
  Vec<T> s = f / (Vec<T>(T(2)) + f);  // no estimate: random numbers are the same on every instruction set
  Vec<T> z = s * s;
  Vec<T> tail = fma(s, fma(z, polynomial(z, C::log), half_square), fma(exponent, Vec<T>(C::ln2_lo), correction));
  return fma(exponent, Vec<T>(C::ln2_hi), f - (half_square - tail));
}

template <typename T>
struct Parts {
  Vec<T> mantissa, exponent;
};

// x = mantissa 2^exponent with sqrt(1/2) <= mantissa <= sqrt(2), for normal x > 0.
template <typename T>
SIMD_INLINE Parts<T> split_exponent(Vec<T> x) {
  using C = MathConstants<T>;
  using U = UnsignedLike<T>;
  Vec<U> bits = bitcast<U>(x) + Vec<U>(C::one_bits - C::sqrt_half_bits);
  Vec<T> biased = bitcast<T>((bits >> C::mantissa_bits) | bitcast<U>(Vec<T>(C::mantissa_unit)));
  Vec<U> mantissa = (bits & Vec<U>((U(1) << C::mantissa_bits) - 1)) + Vec<U>(C::sqrt_half_bits);
  return {bitcast<T>(mantissa), biased - Vec<T>(C::mantissa_unit + T(C::exponent_bias))};
}

// result where 0 < x < infinity, else what ln(x) is there: infinity, nan, -infinity at 0.
template <typename T>
SIMD_INLINE Vec<T> with_limits_of_log(Vec<T> x, Vec<T> result) {
  const T infinity = T(__builtin_inf()), nan = T(__builtin_nan(""));
  result = select(x < Vec<T>(infinity), result, x);
  Vec<T> not_positive = select(x < Vec<T>{}, Vec<T>(nan), Vec<T>(-infinity));
  return select(x <= Vec<T>{}, not_positive, result);
}

// ln(x), the same bits wherever products and sums round alike. Measured: 0.79, 0.76.
template <typename T>
SIMD_INLINE Vec<T> portable_log(Vec<T> x) {
  using C = MathConstants<T>;
  Mask<T> is_denormal = x < Vec<T>(C::min_normal);
  auto parts = split_exponent(select(is_denormal, x * Vec<T>(C::mantissa_unit), x));
  Vec<T> exponent = parts.exponent - select(is_denormal, Vec<T>(T(C::mantissa_bits)), Vec<T>{});
  return with_limits_of_log(x, log_of_parts(parts.mantissa - Vec<T>(T(1)), exponent, Vec<T>{}));
}

// x = mantissa 2^exponent, with a table's 1 / c and ln(c) for a c close to the mantissa. Of 0 and infinity the exponent
// is infinite, of negative numbers the mantissa nan: so are their logarithms.
template <typename T>
struct LogInterval {
  Vec<T> mantissa, exponent, inverse, logarithm;
  Vec<UnsignedLike<T>> index;
};
template <typename Table = LogTable, typename T>
SIMD_INLINE LogInterval<T> log_interval(Vec<T> x) {
  Vec<T> mantissa(native_mantissa(x.lanes));
  auto top_bits = bitcast<UnsignedLike<T>>(mantissa) >> (MathConstants<T>::mantissa_bits - 4);
  return {mantissa, Vec<T>(native_exponent(x.lanes, mantissa.lanes)), lookup(Table::inverse, top_bits),
          lookup(Table::logarithm, top_bits), top_bits};
}
// ln(c 2^exponent) + ln(1 + r)
template <typename T>
SIMD_INLINE Vec<T> log_in_interval(LogInterval<T> at, Vec<T> r) {
  Vec<T> tail = fma(r * r, polynomial(r, LogTable::tail), r);
  return fma(at.exponent, Vec<T>(LogTable::ln2_hi), at.logarithm) + fma(at.exponent, Vec<T>(LogTable::ln2_lo), tail);
}
// ln(sum + lost), where lost is what the sum has lost by rounding.
template <typename T>
SIMD_INLINE Vec<T> log_of_sum(Vec<T> sum, Vec<T> lost) {
  LogInterval<T> at = log_interval(sum);
  Vec<T> rest(native_scale((lost * at.inverse).lanes, (-at.exponent).lanes));
  return log_in_interval(at, fma(at.mantissa, at.inverse, Vec<T>(T(-1))) + rest);
}

// ln(x). Measured: 1.04, 0.76.
template <typename T>
SIMD_INLINE Vec<T> log(Vec<T> x) {
  if constexpr (HasLookup<T>) {
    LogInterval<T> at = log_interval(x);
    return log_in_interval(at, fma(at.mantissa, at.inverse, Vec<T>(T(-1))));
  } else {
    return portable_log(x);
  }
}

// ln(1 + x), also for tiny x. Measured: 1.25, 0.78.
template <typename T>
SIMD_INLINE Vec<T> log1p(Vec<T> x) {
  const Vec<T> one(T(1)), zero{};
  Vec<T> sum = one + x;
  Vec<T> back = sum - one;
  Vec<T> lost = (one - (sum - back)) + (x - back);  // sum + lost = 1 + x
  Vec<T> result;
  if constexpr (HasLookup<T>) {
    result = log_of_sum(sum, lost);
  } else {
    auto parts = split_exponent(sum);
    Mask<T> near_one = parts.exponent == zero;
    Vec<T> f = select(near_one, x, parts.mantissa - one);
    result = log_of_parts(f, parts.exponent, select(near_one, zero, lost / sum));
  }
  return copysign(with_limits_of_log(sum, result), x);
}

// ln(1 + x) for 0 <= x <= 1, with one division. Measured: 1.33, 1.38.
template <typename T>
SIMD_INLINE Vec<T> log1p_of_unit(Vec<T> x) {
  const Vec<T> one(T(1)), zero{};
  Mask<T> near_one = x < Vec<T>(T(0.41421356237309504880));
  Vec<T> f = select(near_one, x, Vec<T>(T(0.5)) * (x - one));  // (1 + x) / 2 = 1 + f
  return log_of_parts(f, select(near_one, zero, one), zero);
}

// ln(1 + e^-x) for x >= 0, relative to itself. Measured: 1.73, 1.65.
template <typename T>
SIMD_INLINE Vec<T> softplus_tail(Vec<T> x) {
  if constexpr (HasLookup<T>) {
    return select_rarely(
        x > Vec<T>(softplus_tail_table.limit), [=] { return exp(-x); }, evaluate(softplus_tail_table, x));
  } else {
    return log1p_of_unit(exp(-x));
  }
}

// tanh(x): x + x^3 P(x^2) / Q(x^2) for small x, else 1 - 2 / (e^2x + 1); both share the division.
// Measured: 1.30, 1.25.
template <typename T>
SIMD_INLINE Vec<T> tanh(Vec<T> x) {
  if constexpr (HasLookup<T>) return copysign(evaluate(tanh_table, abs(x)), x);
  using C = MathConstants<T>;
  const Vec<T> one(T(1));
  Vec<T> magnitude = abs(x), z = x * x;
  Mask<T> is_small = magnitude < Vec<T>(T(0.625));
  Vec<T> numerator = select(is_small, magnitude * z * polynomial(z, C::tanh_numerator), Vec<T>(T(-2)));
  Vec<T> denominator = select(is_small, polynomial(z, C::tanh_denominator), exp(magnitude + magnitude) + one);
  return copysign(select(is_small, magnitude, one) + numerator / denominator, x);
}

// 1 / (1 + e^-x), without overflow, relative to itself also in the left tail. Measured: 2.18, 2.04.
template <typename T>
SIMD_INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> one(T(1)), zero{};
  if constexpr (HasLookup<T>) {
    Vec<T> tail = select_rarely(
        x < Vec<T>(-sigmoid_tail_table.limit), [=] { return exp(x); }, evaluate(sigmoid_tail_table, abs(x)));
    return select(x < zero, tail, one - tail);
  } else {
    Vec<T> tail = exp(-abs(x));
    return divide_by_normal(select(x < zero, tail, one), one + tail);
  }
}

template <typename T>
struct NormalTail {
  Vec<T> tail, density;  // Phi(-x), phi(x)
};

// The standard normal distribution at x >= 0, each value accurate relative to itself.
template <typename T>
SIMD_INLINE NormalTail<T> normal_tail(Vec<T> x) {
  using C = MathConstants<T>;
  using U = UnsignedLike<T>;
  const Vec<T> one(T(1)), minus_half(T(-0.5));
  x = min(Vec<T>(C::normal_tail_max), x);
  // x^2 in two parts: e^(-x^2/2) magnifies the rounding error of x^2.
  Vec<T> head = bitcast<T>(bitcast<U>(x) & Vec<U>(C::half_mantissa_mask));
  auto argument = reduce_exp_argument(minus_half * x * x, minus_half * head * head);
  argument.remainder += minus_half * (x - head) * (x + head);
  Vec<T> bell = scale(one + expm1_of_remainder(argument.remainder), argument);
  Vec<T> reciprocal = divide_by_normal(one, x + Vec<T>(C::normal_center));
  Vec<T> t = fma(Vec<T>(-2 * C::normal_center), reciprocal, one);
  return {bell * (polynomial(t, C::normal_tail) * reciprocal), bell * Vec<T>(T(0.39894228040143267794))};
}

// 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x. Measured: 1.40, 1.32.
template <typename T>
SIMD_INLINE Vec<T> erf(Vec<T> x) {
  if constexpr (HasLookup<T>) {
    Vec<T> bounded = min(Vec<T>(erf_table.limit), abs(x));
    auto at = nearest_interval(bounded, erf_table.width);
    Vec<T> start = select(at.k == Vec<T>{}, bounded, lookup(erf_table.coefficients[0], at.index));
    return copysign(evaluate_from(start, erf_table, at), x);
  }
  Vec<T> magnitude = abs(x);
  // From 6 on it is 1, and the tail soon denormal.
  Vec<T> bounded = min(Vec<T>(T(6)), magnitude);
  Vec<T> tail = normal_tail(bounded * Vec<T>(T(1.41421356237309504880))).tail;
  Vec<T> far = copysign(fma(Vec<T>(T(-2)), tail, Vec<T>(T(1))), x);
  Vec<T> near_zero = fma(x, polynomial(x * x, MathConstants<T>::erf), x);
  return select(magnitude < Vec<T>(T(1)), near_zero, far);
}

template <typename T>
struct Normal {
  Vec<T> cdf, density;  // Phi(x), phi(x)
};

// The standard normal distribution at any x, without cancellation in the left tail. Measured: cdf 5.99, 6.64,
// density 1.96, 2.10.
template <typename T>
SIMD_INLINE Normal<T> normal(Vec<T> x) {
  auto at = normal_tail(abs(x));
  return {select(x < Vec<T>{}, at.tail, Vec<T>(T(1)) - at.tail), at.density};
}

// x factor; where the factor underflows, so that x = -inf gives -0 and not nan.
template <typename T>
SIMD_INLINE Vec<T> times_or_zero(Vec<T> x, Vec<T> factor) {
  return select(factor == Vec<T>{}, factor, x * factor);
}

// |x|, bounded by the far table where x < 0, whose results count relative to themselves, by the near one where x > 0.
template <int near_count, int far_count>
SIMD_INLINE Vec<float> magnitude_in_tables(const PiecewisePolynomial<near_count>& near,
                                           const PiecewisePolynomial<far_count>& far, Vec<float> x) {
  return abs(max(Vec<float>(-far.limit), min(Vec<float>(near.limit), x)));
}

// x Phi(x). Measured: 7.25, 7.7.
template <typename T>
SIMD_INLINE Vec<T> gelu(Vec<T> x) {
  if constexpr (HasLookup<T>) {
    Vec<T> magnitude = magnitude_in_tables(gelu_tail_table, gelu_far_tail_table, x);
    return max(Vec<T>(T(-0.0)), x) - evaluate(gelu_tail_table, gelu_far_tail_table, magnitude);
  } else {
    return times_or_zero(x, normal(x).cdf);
  }
}

// Phi(x) + x phi(x)
template <typename T>
SIMD_INLINE Vec<T> gelu_slope(Vec<T> x) {
  if constexpr (HasLookup<T>) {
    Vec<T> magnitude = magnitude_in_tables(gelu_slope_tail_table, gelu_slope_far_tail_table, x);
    Vec<T> tail = evaluate(gelu_slope_tail_table, gelu_slope_far_tail_table, magnitude);
    return select(x < Vec<T>{}, tail, Vec<T>(T(1)) - tail);
  } else {
    auto at = normal(x);
    return at.cdf + times_or_zero(x, at.density);
  }
}

}  // namespace
}  // namespace MINIDL_TARGET
