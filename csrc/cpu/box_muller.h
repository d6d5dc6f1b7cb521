// Normal numbers from random bits: Box and Muller 1958. To be compiled with -ffp-contract=off, so that every
// instruction set rounds alike.
#pragma once
#include "philox.h"
#include "simd_math.h"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct Wave {
  Vec<T> cos, sin;
};

// cos and sin of turn * 2 pi / 2^bits: the two top bits, rounded, are the quadrant, the rest at most pi / 4 either way,
// where these Taylor polynomials are exact to the last bit or so.
template <typename T, typename Bits>
SIMD_INLINE Wave<T> wave(Vec<Bits> turn) {
  using Signed = IntegerLike<T>;
  constexpr int bits = 8 * sizeof(T);
  constexpr int terms = bits == 32 ? 6 : 9;
  constexpr double quarter = 1.57079632679489661923 / (bits == 32 ? 0x1p32 : 0x1p64);
  Vec<T> x = convert<T>(bitcast<Signed>(turn << 2)) * Vec<T>((T)quarter);
  Vec<T> square = x * x, cosine(T(0)), sine(T(0));
#pragma GCC unroll 9
  for (int n = terms - 1; n >= 0; --n) {  // 1 - x^2 / (1 * 2) (1 - x^2 / (3 * 4) (...)) and likewise for sin
    cosine = Vec<T>(T(1)) - square * Vec<T>(T(1.0 / ((2 * n + 1) * (2 * n + 2)))) * cosine;
    sine = Vec<T>(T(1)) - square * Vec<T>(T(1.0 / ((2 * n + 2) * (2 * n + 3)))) * sine;
  }
  sine = sine * x;
  Vec<Bits> quadrant = (turn + Vec<Bits>(Bits(1) << (bits - 3))) >> (bits - 2);
  Mask<T> is_odd{((quadrant & Vec<Bits>(1)) == Vec<Bits>(1)).lanes};
  auto flip_sign = [](Vec<T> value, Vec<Bits> quadrant) {
    return bitcast<T>(bitcast<Bits>(value) ^ ((quadrant & Vec<Bits>(2)) << (bits - 2)));
  };
  return {flip_sign(select(is_odd, sine, cosine), quadrant + Vec<Bits>(1)),
          flip_sign(select(is_odd, cosine, sine), quadrant)};
}

// 32 numbers from as many draws: 16 radii and, 16 places on, the angles of the same blocks.
template <typename T, typename Bits>
SIMD_INLINE void box_muller(const Bits* draws, T* values, T mean, T std) {
  for (int b = 0; b < group_blocks; b += Vec<T>::width) {
    Vec<T> u;  // in (0, 1]
    if constexpr (sizeof(T) == sizeof(float))
      u = (convert<T>(load(draws + b)) + Vec<T>(0.5f)) * Vec<T>(0x1p-32f);
    else
      u = (convert<T>(bitcast<int64_t>(load(draws + b) >> 12)) + Vec<T>(0.5)) * Vec<T>(0x1p-52);
    Vec<T> radius = sqrt(Vec<T>(T(-2)) * portable_log(u));
    Wave<T> angle = wave<T>(load(draws + group_blocks + b));
    store(values + b, Vec<T>(mean) + Vec<T>(std) * (radius * angle.cos));
    store(values + group_blocks + b, Vec<T>(mean) + Vec<T>(std) * (radius * angle.sin));
  }
}

}  // namespace
}  // namespace MINIDL_TARGET
