// The numbers behind simd_math.h: minimax polynomials, fitted in 60 digits by iteratively reweighted least squares on
// Chebyshev nodes, each coefficient rounded to its type before the next one was fitted again. Lowest order first.
#pragma once
#include <stdint.h>

#include "isa.h"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct MathConstants;

template <>
struct MathConstants<float> {
  using Unsigned = uint32_t;
  static constexpr int mantissa_bits = 23;
  static constexpr int exponent_bias = 127;
  static constexpr float round_magic = 0x1.8p23f;  // adding it leaves the nearest whole number in the low bits
  static constexpr float mantissa_unit = 0x1p23f;  // or-ing a whole number into its bits adds it
  static constexpr float min_normal = 0x1p-126f;
  static constexpr uint32_t half_mantissa_mask = 0xfffff000u;  // what it keeps can be squared without rounding
  static constexpr uint32_t sqrt_half_bits = 0x3f3504f3u;
  static constexpr uint32_t one_bits = 0x3f800000u;

  static constexpr float ln2_hi = 0.693359375f;  // short: its products with exponents are exact
  static constexpr float ln2_lo = -2.12194440e-4f;
  static constexpr float exp_min = -104.0f, exp_max = 89.0f;  // e^x is 0 below, infinite above
  static constexpr float expm1_min = -30.0f;                  // e^x - 1 is -1 below
  // (e^r - 1 - r) / r^2 for |r| <= ln(2) / 2; off by 2^-28 of e^r
  static constexpr float exp[] = {0.5f, 0.166665182f, 0.0416664332f, 0.00836896803f, 0.00139378454f};
  // (2 atanh(s) / s - 2) / z for z = s^2 <= 0.0295; off by 2^-30
  static constexpr float log[] = {0.666667759f, 0.399775565f, 0.298720121f};
  // (tanh(x) / x - 1) / x^2 as a quotient in x^2 for |x| <= 0.625; off by 2^-26.8 of tanh
  static constexpr float tanh_numerator[] = {-0.333333075f, -0.0015418916f};
  static constexpr float tanh_denominator[] = {1.0f, 0.404613465f};
  // erf(x) / x - 1 in x^2 for |x| <= 1; off by 2^-29
  static constexpr float erf[] = {0.128379166f,   -0.37612626f,    0.112835832f,  -0.0268536918f,
                                  0.00518807396f, -0.00080078782f, 7.8461082e-05f};
  // Phi(-x) e^(x^2/2) (x + center) in (x - center) / (x + center) for 0 <= x <= 15; off by 2^-24.7
  static constexpr float normal_center = 3.0f;
  static constexpr float normal_tail[] = {0.729083717f,     -0.509332001f,   0.230016977f,   -0.0472628102f,
                                          -0.010457213f,    0.0069722659f,   0.00101063773f, -0.00104524719f,
                                          -0.000233998624f, 0.000146556675f, 5.86432652e-05f};
  static constexpr float normal_tail_max = 15.0f;  // Phi(-15) = 4e-51
};

template <>
struct MathConstants<double> {
  using Unsigned = uint64_t;
  static constexpr int mantissa_bits = 52;
  static constexpr int exponent_bias = 1023;
  static constexpr double round_magic = 0x1.8p52;
  static constexpr double mantissa_unit = 0x1p52;
  static constexpr double min_normal = 0x1p-1022;
  static constexpr uint64_t half_mantissa_mask = 0xfffffffff8000000u;
  static constexpr uint64_t sqrt_half_bits = 0x3fe6a09e667f3bcdu;
  static constexpr uint64_t one_bits = 0x3ff0000000000000u;

  static constexpr double ln2_hi = 0x1.62e42feep-1;
  static constexpr double ln2_lo = 0x1.a39ef35793c76p-33;
  static constexpr double exp_min = -746.0, exp_max = 710.0;
  static constexpr double expm1_min = -60.0;
  // off by 2^-63
  static constexpr double exp[] = {0.5,
                                   0.16666666666666685,
                                   0.041666666666666692,
                                   0.0083333333333159218,
                                   0.0013888888888869239,
                                   0.00019841269898789632,
                                   2.4801587357365705e-05,
                                   2.7557232708222459e-06,
                                   2.7557244919128975e-07,
                                   2.5112721594668604e-08,
                                   2.0923858078661952e-09};
  // off by 2^-59
  static constexpr double log[] = {0.66666666666667351, 0.39999999999408814, 0.28571428743890082, 0.22222198401304291,
                                   0.18183574089902801, 0.15313781120797654, 0.14798829457914989};
  // The same for what becomes a float: off by 2^-37 and 2^-34.
  static constexpr double float_log[] = {0.6666666564125434, 0.4000033622597789, 0.28537237971817586,
                                         0.2358357464031891};
  static constexpr double float_exp[] = {0.5000000067793917,   0.16666665867661745,  0.041666294540657754,
                                         0.008333497239917654, 0.001394468998638433, 0.00019790322574250106};
  // off by 2^-57
  static constexpr double tanh_numerator[] = {-0.33333333333333326, -0.020496854021355065, -0.00019909191568955522};
  static constexpr double tanh_denominator[] = {1, 0.46149056206405059, 0.023288738668180067, 0.00020644150142818725};
  // off by 2^-56
  static constexpr double erf[] = {0.12837916709551259,    -0.37612638903183876,   0.11283791670958747,
                                   -0.026866170645620812,  0.005223977629111057,   -0.00085483271906046539,
                                   0.00012055337816960251, -1.492573948929442e-05, 1.6463103369456109e-06,
                                   -1.637081404085286e-07, 1.4787743412933835e-08, -1.18352342630418e-09,
                                   6.6926962873013333e-11};
  // 0 <= x <= 39; off by 2^-54.9
  static constexpr double normal_center = 4.0;
  static constexpr double normal_tail[] = {
      0.75528513041575152,    -0.60789664197189208,    0.38713740074221203,     -0.18652185795965875,
      0.060396574891019836,   -0.0075401889666919103,  -0.0034796923686682565,  0.0016308184571322778,
      0.0001333443232398831,  -0.00023109493134932952, -1.9083146997873341e-06, 3.5144664906212582e-05,
      7.1685385267445143e-07, -5.9200954837094309e-06, -6.3010687359884304e-07, 1.021364476645867e-06,
      2.7239010085244174e-07, -1.5466500969081849e-07, -8.5932993485422175e-08, 1.2985719928707387e-08,
      1.9887098505224517e-08, 2.081699535144731e-09,   -2.5812258715854966e-09, -7.6503482041570051e-10};
  static constexpr double normal_tail_max = 39.0;
};

}  // namespace
}  // namespace MINIDL_TARGET
