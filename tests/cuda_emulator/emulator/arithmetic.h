// CUDA's functions of numbers that C++ lacks, with CUDA's results.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <bit>
#include <concepts>
#include <limits>
#include <type_traits>

// ---- one rounding, never fused with a neighbour: the barrier keeps the compiler from it
namespace emulator {

template <typename T>
T rounded(T value) {
  asm volatile("" : "+m"(value));
  return value;
}

}  // namespace emulator

inline float __fadd_rn(float a, float b) { return emulator::rounded(a + b); }
inline float __fsub_rn(float a, float b) { return emulator::rounded(a - b); }
inline float __fmul_rn(float a, float b) { return emulator::rounded(a * b); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1 / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __frsqrt_rn(float a) { return (float)(1 / sqrt((double)a)); }
inline double __dadd_rn(double a, double b) { return emulator::rounded(a + b); }
inline double __dsub_rn(double a, double b) { return emulator::rounded(a - b); }
inline double __dmul_rn(double a, double b) { return emulator::rounded(a * b); }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __drcp_rn(double a) { return 1 / a; }
inline double __dsqrt_rn(double a) { return sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// ---- functions; the fast ones (two underscores) are exact here, which no test may rely on
namespace emulator {

inline float rsqrtf(float x) { return (float)(1 / sqrt((double)x)); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float rsqrt(float x) { return emulator::rsqrtf(x); }
inline void sincospi(double x, double* sine, double* cosine) {
  double turns = fmod(x, 2);
  *sine = fmod(turns, 1) == 0 ? copysign(0.0, x) : sin(M_PI * turns);
  *cosine = fabs(fmod(turns, 1)) == 0.5 ? 0 : cos(M_PI * turns);
}
inline void sincospif(float x, float* sine, float* cosine) {
  double wide_sine, wide_cosine;
  emulator::sincospi((double)x, &wide_sine, &wide_cosine);
  *sine = (float)wide_sine;
  *cosine = (float)wide_cosine;
}
inline double sinpi(double x) {
  double sine, cosine;
  return emulator::sincospi(x, &sine, &cosine), sine;
}
inline double cospi(double x) {
  double sine, cosine;
  return emulator::sincospi(x, &sine, &cosine), cosine;
}
inline float sinpif(float x) { return (float)emulator::sinpi((double)x); }
inline float cospif(float x) { return (float)emulator::cospi((double)x); }
inline float sinpi(float x) { return emulator::sinpif(x); }
inline float cospi(float x) { return emulator::cospif(x); }
inline void sincospi(float x, float* sine, float* cosine) { emulator::sincospif(x, sine, cosine); }

}  // namespace emulator

// Macros, because newer C libraries declare some of these names too.
#define rsqrtf emulator::rsqrtf
#define rsqrt emulator::rsqrt
#define sincospi emulator::sincospi
#define sincospif emulator::sincospif
#define sinpi emulator::sinpi
#define sinpif emulator::sinpif
#define cospi emulator::cospi
#define cospif emulator::cospif

inline float rcbrtf(float x) { return 1 / cbrtf(x); }
inline double rcbrt(double x) { return 1 / cbrt(x); }
inline float rcbrt(float x) { return rcbrtf(x); }
// In long double, because erfc magnifies the rounding error of its argument.
inline double normcdf(double x) { return (double)(0.5L * erfcl(-x * 0.70710678118654752440084L)); }
inline float normcdff(float x) { return (float)normcdf(x); }
inline float normcdf(float x) { return normcdff(x); }
inline double erfcx(double x) {
  if (x < 25) return exp(x * x) * erfc(x);
  double inverse_square = 1 / (x * x);  // asymptotic series: erfc underflows
  return 0.56418958354775628695 / x * (1 - inverse_square / 2 * (1 - inverse_square * 1.5));
}
inline float erfcxf(float x) { return (float)erfcx(x); }
inline float erfcx(float x) { return erfcxf(x); }
inline float fdividef(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return (float)pow(10, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }

// ---- min and max: of floating-point numbers the one that is not nan
template <std::floating_point T>
T max(T a, T b) {
  return std::is_same_v<T, float> ? fmaxf(a, b) : fmax(a, b);
}
template <std::floating_point T>
T min(T a, T b) {
  return std::is_same_v<T, float> ? fminf(a, b) : fmin(a, b);
}
template <std::integral A, std::integral B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  std::common_type_t<A, B> x = a, y = b;
  return x < y ? y : x;
}
template <std::integral A, std::integral B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  std::common_type_t<A, B> x = a, y = b;
  return y < x ? y : x;
}

// ---- bits
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero((unsigned)x); }
inline int __clzll(long long x) { return std::countl_zero((unsigned long long)x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (x >> bit & 1) << (31 - bit);
  return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
inline int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)(((uint64_t)high << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)(((uint64_t)high << 32 | low) >> (shift & 31));
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  uint64_t bytes = (uint64_t)y << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    unsigned chosen = selector >> 4 * i & 0xf, byte = (unsigned)(bytes >> 8 * (chosen & 7)) & 0xff;
    if (chosen & 8) byte = byte & 0x80 ? 0xff : 0;  // repeats the sign
    result |= byte << 8 * i;
  }
  return result;
}

// ---- numbers as bits and back, and conversions with a named rounding
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline int __double2loint(double x) { return (int)__double_as_longlong(x); }
inline int __double2hiint(double x) { return (int)(__double_as_longlong(x) >> 32); }
inline double __hiloint2double(int high, int low) {
  return std::bit_cast<double>((uint64_t)(unsigned)high << 32 | (unsigned)low);
}
inline float __int2float_rn(int x) { return (float)x; }
inline float __uint2float_rn(unsigned x) { return (float)x; }
inline float __ll2float_rn(long long x) { return (float)x; }
inline float __ull2float_rn(unsigned long long x) { return (float)x; }
inline float __double2float_rn(double x) { return (float)x; }
inline double __ll2double_rn(long long x) { return (double)x; }
inline double __ull2double_rn(unsigned long long x) { return (double)x; }
inline double __uint2double_rn(unsigned x) { return x; }
