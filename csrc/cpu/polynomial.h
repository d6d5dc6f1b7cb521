// Polynomials on vectors: one for all lanes, or in each lane the one for the interval its argument lies in.
#pragma once
#include <stdint.h>

#include "simd.h"
#include "simd_math_constants.h"

namespace MINIDL_TARGET {
namespace {

// coefficients[0] + coefficients[1] x + coefficients[2] x^2 + ...
template <typename T, int count>
SIMD_INLINE Vec<T> polynomial(Vec<T> x, const T (&coefficients)[count]) {
  Vec<T> sum(coefficients[count - 1]);
#pragma GCC unroll 32
  for (int i = count - 2; i >= 0; --i) sum = fma(sum, x, Vec<T>(coefficients[i]));
  return sum;
}

// Whether one instruction looks up all lanes of a vector in a table held in registers: floats with AVX-512.
template <typename T>
concept HasLookup = requires(const T (&table)[32], Vec<uint32_t> index) { native_lookup(table, index.lanes); };

// table[index % entries] in every lane.
template <int entries>
SIMD_INLINE Vec<float> lookup(const float (&table)[entries], Vec<uint32_t> index) {
  return Vec<float>(native_lookup(table, index.lanes));
}

// A function on 32 intervals around multiples of the width: in that around k width it is close to
// coefficients[0][k % 32] + coefficients[1][k % 32] r + ... with r = x - k width.
template <int count>
struct PiecewisePolynomial {
  float width, limit;  // the last interval may be used up to the limit
  alignas(64) float coefficients[count][32];
};

struct Interval {
  Vec<float> k, r;
  Vec<uint32_t> index;  // k in its low bits
};

SIMD_INLINE Interval nearest_interval(Vec<float> x, float width) {
  const Vec<float> round_magic(MathConstants<float>::round_magic);
  Vec<float> shifted = fma(x, Vec<float>(1 / width), round_magic);
  Vec<float> k = shifted - round_magic;
  return {k, fma(k, Vec<float>(-width), x), bitcast<uint32_t>(shifted)};
}

// The function's value, with start in place of coefficients[0][k].
template <int count>
SIMD_INLINE Vec<float> evaluate_from(Vec<float> start, const PiecewisePolynomial<count>& function, Interval at) {
  Vec<float> slope = lookup(function.coefficients[count - 1], at.index);
#pragma GCC unroll 32
  for (int i = count - 2; i >= 1; --i) slope = fma(slope, at.r, lookup(function.coefficients[i], at.index));
  return fma(slope, at.r, start);
}
template <int count>
SIMD_INLINE Vec<float> evaluate(const PiecewisePolynomial<count>& function, Interval at) {
  return evaluate_from(lookup(function.coefficients[0], at.index), function, at);
}

// function(x) for x >= 0, from the limit on function(limit), for nan nan.
template <int count>
SIMD_INLINE Vec<float> evaluate(const PiecewisePolynomial<count>& function, Vec<float> x) {
  return evaluate(function, nearest_interval(min(Vec<float>(function.limit), x), function.width));
}

// A function on two tables in a row, for 0 <= x <= far.limit, where it is 0. The second is read only where a lane needs
// it.
template <int near_count, int far_count>
SIMD_INLINE Vec<float> evaluate(const PiecewisePolynomial<near_count>& near, const PiecewisePolynomial<far_count>& far,
                                Vec<float> x) {
  Interval at = nearest_interval(x, near.width);
  auto far_value = [&] { return select(x < Vec<float>(far.limit), evaluate(far, at), Vec<float>{}); };
  return select_rarely(at.k > Vec<float>(31), far_value, evaluate(near, at));
}

}  // namespace
}  // namespace MINIDL_TARGET
