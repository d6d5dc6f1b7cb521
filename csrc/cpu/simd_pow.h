// a^b on Vec<float> and Vec<double>. "Measured" as in simd_math.h.
#pragma once
#include "simd_math.h"

namespace MINIDL_TARGET {
namespace {

// e^(b ln|a|) with the signs and limits of C's pow.
SIMD_INLINE Vec<double> pow_in_double(Vec<double> a, Vec<double> b) {
  using V = Vec<double>;
  const V one(1.0), zero{}, infinity(__builtin_inf()), magic(MathConstants<double>::round_magic);
  V result = exp(b * log(abs(a)));
  V whole = min(V(0x1p40), abs(b));  // a float beyond 2^40 is an even number
  auto is_integer = [&](V v) { return (v + magic) - magic == v; };
  Mask<double> is_odd = is_integer(whole) & !is_integer(whole * V(0.5));
  result = select(is_odd, copysign(result, a), result);
  result = select((a < zero) & (a > -infinity) & !is_integer(whole), V(__builtin_nan("")), result);
  result = select((a == -one) & (abs(b) == infinity), one, result);
  return select((a == one) | (b == zero), one, result);
}

// The lower and the upper half of the lanes of a vector of floats, as doubles.
struct Halves {
  Vec<double> low, high;
};

template <typename T>
concept HasHalves = requires(Vec<T> v) { native_low_in_double(v.lanes); };

template <typename T>
SIMD_INLINE Halves halves_in_double(Vec<T> v) {
  if constexpr (HasHalves<T>) {
    return {Vec<double>(native_low_in_double(v.lanes)), Vec<double>(native_high_in_double(v.lanes))};
  } else {
    Halves halves;
    constexpr int half = Vec<double>::width;
    for (int i = 0; i < half; ++i) halves.low.lanes[i] = v[i], halves.high.lanes[i] = v[half + i];
    return halves;
  }
}
template <typename T, typename Double>
SIMD_INLINE Vec<T> join_halves(Vec<Double> low, Vec<Double> high) {
  if constexpr (HasHalves<T>) {
    return Vec<T>(native_from_doubles(low.lanes, high.lanes));
  } else {
    Vec<T> v;
    constexpr int half = Vec<double>::width;
    for (int i = 0; i < half; ++i) v.lanes[i] = (T)low[i], v.lanes[half + i] = (T)high[i];
    return v;
  }
}

// function(arguments...) in double precision, half a register of floats at a time.
template <typename Function, typename... Arguments>
SIMD_INLINE Vec<float> in_double(Function function, Arguments... arguments) {
  return join_halves<float>(function(halves_in_double(arguments).low...),
                            function(halves_in_double(arguments).high...));
}

// e^(b ln a) for normal a > 0 and finite b: polynomials as long as a float needs, and one division for both halves.
SIMD_INLINE Vec<float> pow_of_normal(Vec<float> a, Vec<float> b) {
  auto parts = split_exponent(a);
  Vec<float> f = parts.mantissa - Vec<float>(1.0f), sum = f + Vec<float>(2.0f);
  Vec<float> inverse = Vec<float>(1.0f) / sum;
  auto power = [](Vec<double> f, Vec<double> inverse, Vec<double> exponent,
                  Vec<double> b) __attribute__((always_inline)) {
    using V = Vec<double>;
    using C = MathConstants<double>;
    // s = f / (2 + f), the float's reciprocal corrected once
    V s = f * inverse;
    s = fma(fma(-s, f + V(2.0), f), inverse, s);
    V z = s * s;
    V logarithm = fma(exponent, V(0.69314718055994530942), fma(s * z, polynomial(z, C::float_log), s + s));
    V argument = min(V(120.0), max(V(-120.0), b * logarithm));  // infinite, or 0, as a float
    V shifted = fma(argument, V(1.44269504088896340736), V(C::round_magic));
    V r = fma(shifted - V(C::round_magic), V(-0.69314718055994530942), argument);
    V mantissa = fma(r * r, polynomial(r, C::float_exp), r) + V(1.0);
    return bitcast<double>(bitcast<uint64_t>(mantissa) + (bitcast<uint64_t>(shifted) << C::mantissa_bits));
  };
  return in_double(power, f, inverse, parts.exponent, b);
}

// value + rest, the rest what the value has lost by rounding.
template <typename T>
struct TwoParts {
  Vec<T> value, rest;
};

// a + b, where |a| >= |b| or a is 0 (Dekker 1971).
template <typename T>
SIMD_INLINE TwoParts<T> add_exactly(Vec<T> a, Vec<T> b) {
  Vec<T> sum = a + b;
  return {sum, b - (sum - a)};
}

template <typename T>
SIMD_INLINE TwoParts<T> multiply_exactly(Vec<T> a, Vec<T> b) {
  Vec<T> product = a * b;
  return {product, Vec<T>(native_multiply_subtract(a.lanes, b.lanes, product.lanes))};
}

// ln(a) for normal a > 0; off by 2^-33 of itself.
template <typename T>
SIMD_INLINE TwoParts<T> log_in_two(Vec<T> a) {
  using V = Vec<T>;
  auto at = log_interval<PowTable>(a);
  V r = fma(at.mantissa, at.inverse, V(-1.0f));
  auto square = multiply_exactly(r, r);
  // What is added here are exact products.
  auto first = add_exactly(fma(at.exponent, V(LogTable::ln2_hi), at.logarithm), r);
  auto second = add_exactly(first.value, V(-0.5f) * square.value);
  V small = fma(at.exponent, V(LogTable::ln2_lo), lookup(PowTable::logarithm_lo, at.index));
  small = fma(r * square.value, polynomial(r, PowTable::tail), fma(V(-0.5f), square.rest, small));
  return add_exactly(second.value, small + (first.rest + second.rest));
}

// e^(b ln a) for normal a > 0 and finite b, with twice a float's digits on the way.
template <typename T>
SIMD_INLINE Vec<T> pow_in_two(Vec<T> a, Vec<T> b) {
  using V = Vec<T>;
  auto logarithm = log_in_two(a);
  auto product = multiply_exactly(b, logarithm.value);
  V bounded = min(V(120.0f), max(V(-120.0f), product.value));  // infinite, or 0
  V rest = select(bounded == product.value, fma(b, logarithm.rest, product.rest), V{});
  auto argument = reduce_exp_argument(bounded, bounded);
  // The remainder in two: the argument's own is one float.
  auto r = add_exactly(fma(argument.n, V(-LogTable::ln2_hi), bounded), fma(argument.n, V(-LogTable::ln2_lo), rest));
  auto sum = add_exactly(V(1.0f), r.value);
  V tail = fma(r.value * r.value, polynomial(r.value, MathConstants<T>::exp), fma(r.rest, sum.value, sum.rest));
  return scale(sum.value + tail, argument);
}

// The better of the two.
template <typename T>
SIMD_INLINE Vec<T> positive_power(Vec<T> a, Vec<T> b) {
  if constexpr (HasLookup<T>)
    return pow_in_two(a, b);
  else
    return pow_of_normal(a, b);
}

// a^b as C's pow has it. Floats go through double precision or, where vectors are looked up in tables, through sums of
// two floats in half the time; doubles, which have no wider type, through libm. Measured for floats: 0.51, by sums of
// two 0.80; what is a float itself comes out exact.
SIMD_INLINE Vec<float> pow(Vec<float> a, Vec<float> b) {
  const Vec<float> infinity(__builtin_inff());
  Vec<float> result = positive_power(a, b);
  Mask<float> is_normal = (a >= Vec<float>(MathConstants<float>::min_normal)) & (a < infinity) & (abs(b) < infinity);
  auto general = [](Vec<double> a, Vec<double> b) { return pow_in_double(a, b); };
  return select_rarely(!is_normal, [=] { return in_double(general, a, b); }, result);
}
inline Vec<double> pow(Vec<double> a, Vec<double> b) {
  for (int i = 0; i < Vec<double>::width; ++i) a.lanes[i] = __builtin_pow(a.lanes[i], b.lanes[i]);
  return a;
}

}  // namespace
}  // namespace MINIDL_TARGET
