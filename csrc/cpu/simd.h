// Vec<T>: one register of numbers, and Mask<T>: one truth value per lane, on GCC/Clang vector extensions.
#pragma once
#include <stdint.h>
#include <string.h>

#include "isa.h"

// Everything here has internal linkage and is inlined: an inline function compiled with AVX must never become the
// copy that the linker keeps for every CPU.
#define SIMD_INLINE inline __attribute__((always_inline))

namespace MINIDL_TARGET {
namespace {

// The register type of T and the integer of T's size. Spelled out per type: GCC takes a vector_size that depends on a
// template parameter for its element type.
template <typename T>
struct LaneTraits;
#define LANE_TRAITS(T, I)                                        \
  template <>                                                    \
  struct LaneTraits<T> {                                         \
    typedef T Native __attribute__((vector_size(vector_bytes))); \
    using Integer = I;                                           \
  };
LANE_TRAITS(float, int32_t)
LANE_TRAITS(double, int64_t)
LANE_TRAITS(int32_t, int32_t)
LANE_TRAITS(int64_t, int64_t)
LANE_TRAITS(uint32_t, int32_t)
LANE_TRAITS(uint64_t, int64_t)
#undef LANE_TRAITS

template <typename T>
using IntegerLike = typename LaneTraits<T>::Integer;

template <typename T>
struct Mask {
  using Native = typename LaneTraits<IntegerLike<T>>::Native;
  Native lanes;  // -1 where true, 0 where false
  friend SIMD_INLINE Mask operator&(Mask a, Mask b) { return {a.lanes & b.lanes}; }
  friend SIMD_INLINE Mask operator|(Mask a, Mask b) { return {a.lanes | b.lanes}; }
  friend SIMD_INLINE Mask operator!(Mask a) { return {~a.lanes}; }
};

template <typename T>
struct Vec {
  static constexpr int width = vector_bytes / sizeof(T);
  using Native = typename LaneTraits<T>::Native;
  Native lanes;

  Vec() = default;
  SIMD_INLINE Vec(T value) : lanes(value - Native{}) {}  // value - 0 keeps the sign of -0
  explicit SIMD_INLINE Vec(Native native) : lanes(native) {}

  SIMD_INLINE T operator[](int i) const { return lanes[i]; }
  friend SIMD_INLINE Vec operator+(Vec a, Vec b) { return Vec(a.lanes + b.lanes); }
  friend SIMD_INLINE Vec operator-(Vec a, Vec b) { return Vec(a.lanes - b.lanes); }
  friend SIMD_INLINE Vec operator*(Vec a, Vec b) { return Vec(a.lanes * b.lanes); }
  friend SIMD_INLINE Vec operator/(Vec a, Vec b) { return Vec(a.lanes / b.lanes); }
  friend SIMD_INLINE Vec operator-(Vec a) { return Vec(-a.lanes); }
  friend SIMD_INLINE Vec operator&(Vec a, Vec b) { return Vec(a.lanes & b.lanes); }
  friend SIMD_INLINE Vec operator|(Vec a, Vec b) { return Vec(a.lanes | b.lanes); }
  friend SIMD_INLINE Vec operator^(Vec a, Vec b) { return Vec(a.lanes ^ b.lanes); }
  friend SIMD_INLINE Vec operator<<(Vec a, int bits) { return Vec(a.lanes << bits); }
  friend SIMD_INLINE Vec operator>>(Vec a, int bits) { return Vec(a.lanes >> bits); }
  friend SIMD_INLINE Mask<T> operator<(Vec a, Vec b) { return {a.lanes < b.lanes}; }
  friend SIMD_INLINE Mask<T> operator<=(Vec a, Vec b) { return {a.lanes <= b.lanes}; }
  friend SIMD_INLINE Mask<T> operator>(Vec a, Vec b) { return {a.lanes > b.lanes}; }
  friend SIMD_INLINE Mask<T> operator>=(Vec a, Vec b) { return {a.lanes >= b.lanes}; }
  friend SIMD_INLINE Mask<T> operator==(Vec a, Vec b) { return {a.lanes == b.lanes}; }
  friend SIMD_INLINE Mask<T> operator!=(Vec a, Vec b) { return {a.lanes != b.lanes}; }
  SIMD_INLINE Vec& operator+=(Vec b) { return *this = *this + b; }
  SIMD_INLINE Vec& operator-=(Vec b) { return *this = *this - b; }
  SIMD_INLINE Vec& operator*=(Vec b) { return *this = *this * b; }
};

template <typename T>
SIMD_INLINE Vec<T> load(const T* from) {
  Vec<T> v;
  memcpy(&v, from, sizeof v);
  return v;
}

template <typename T>
SIMD_INLINE void store(T* to, Vec<T> v) {
  memcpy(to, &v, sizeof v);
}

// A store past the caches to a whole register's address; in order with what follows only after native_finish_streams().
template <typename T>
SIMD_INLINE void stream_store(T* to, Vec<T> v) {
  native_stream(to, v.lanes);
}

// The first count lanes (0 <= count <= width), zero in the others; memory beyond them is not touched.
template <typename T>
SIMD_INLINE Vec<T> load_partial(const T* from, int count) {
  return Vec<T>(native_load_partial<typename Vec<T>::Native>(from, count));
}

template <typename T>
SIMD_INLINE void store_partial(T* to, Vec<T> v, int count) {
  native_store_partial(to, v.lanes, count);
}

template <typename T>
SIMD_INLINE Vec<T> select(Mask<T> mask, Vec<T> yes, Vec<T> no) {
  return Vec<T>(mask.lanes ? yes.lanes : no.lanes);
}

template <typename T>
SIMD_INLINE bool any(Mask<T> mask) {
  return native_any(mask.lanes);
}

// select(mask, yes(), no) for a mask that is rarely true: yes() is only computed where it is.
template <typename T, typename Yes>
SIMD_INLINE Vec<T> select_rarely(Mask<T> mask, Yes yes, Vec<T> no) {
  if (__builtin_expect(any(mask), false)) return select(mask, yes(), no);
  return no;
}

// b where either is nan, like the machine's own instruction.
template <typename T>
SIMD_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
  if constexpr (requires { native_min(a.lanes, b.lanes); })
    return Vec<T>(native_min(a.lanes, b.lanes));
  else
    return select(a < b, a, b);
}
template <typename T>
SIMD_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
  if constexpr (requires { native_max(a.lanes, b.lanes); })
    return Vec<T>(native_max(a.lanes, b.lanes));
  else
    return select(a > b, a, b);
}

template <typename T>
SIMD_INLINE Vec<T> sqrt(Vec<T> x) {
  return Vec<T>(native_sqrt(x.lanes));
}

// a * b + c; one rounding where the instruction set has FMA.
template <typename T>
SIMD_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return Vec<T>(a.lanes * b.lanes + c.lanes);
}

// The same bits, read as other numbers of the same size.
template <typename To, typename From>
SIMD_INLINE Vec<To> bitcast(Vec<From> v) {
  return Vec<To>((typename Vec<To>::Native)v.lanes);
}

// Numbers converted lane by lane, between types of one size.
template <typename To, typename From>
SIMD_INLINE Vec<To> convert(Vec<From> v) {
  return Vec<To>(__builtin_convertvector(v.lanes, typename Vec<To>::Native));
}

template <typename T>
SIMD_INLINE Vec<T> abs(Vec<T> x) {
  using I = IntegerLike<T>;
  constexpr I all_but_sign = sizeof(T) == 4 ? (I)0x7fffffff : (I)0x7fffffffffffffffLL;
  return bitcast<T>(bitcast<I>(x) & Vec<I>(all_but_sign));
}

// magnitude's absolute value with sign's sign.
template <typename T>
SIMD_INLINE Vec<T> copysign(Vec<T> magnitude, Vec<T> sign) {
  using I = IntegerLike<T>;
  constexpr I all_but_sign = sizeof(T) == 4 ? (I)0x7fffffff : (I)0x7fffffffffffffffLL;
  return bitcast<T>((bitcast<I>(magnitude) & Vec<I>(all_but_sign)) | (bitcast<I>(sign) & Vec<I>(~all_but_sign)));
}

// 0, 1, 2, ...
template <typename T>
SIMD_INLINE Vec<T> iota() {
  Vec<T> v{};
  for (int i = 0; i < Vec<T>::width; ++i) v.lanes[i] = (T)i;
  return v;
}

// Lane i of the result is lane i ^ distance of v.
template <int distance, typename T>
SIMD_INLINE Vec<T> exchange_lanes(Vec<T> v) {
  constexpr int d = distance;
  if constexpr (Vec<T>::width == 2) return Vec<T>(__builtin_shufflevector(v.lanes, v.lanes, 0 ^ d, 1 ^ d));
  if constexpr (Vec<T>::width == 4)
    return Vec<T>(__builtin_shufflevector(v.lanes, v.lanes, 0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d));
  if constexpr (Vec<T>::width == 8)
    return Vec<T>(__builtin_shufflevector(v.lanes, v.lanes, 0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d, 4 ^ d, 5 ^ d, 6 ^ d, 7 ^ d));
  if constexpr (Vec<T>::width == 16)
    return Vec<T>(__builtin_shufflevector(v.lanes, v.lanes, 0 ^ d, 1 ^ d, 2 ^ d, 3 ^ d, 4 ^ d, 5 ^ d, 6 ^ d, 7 ^ d,
                                          8 ^ d, 9 ^ d, 10 ^ d, 11 ^ d, 12 ^ d, 13 ^ d, 14 ^ d, 15 ^ d));
}

// combine(a, b) of all lanes, as a fixed tree.
template <int half, typename T, typename Combine>
SIMD_INLINE T fold_lanes(Vec<T> v, Combine combine) {
  if constexpr (half == 0)
    return v[0];
  else
    return fold_lanes<half / 2>(combine(v, exchange_lanes<half>(v)), combine);
}
template <typename T, typename Combine>
SIMD_INLINE T fold_lanes(Vec<T> v, Combine combine) {
  return fold_lanes<Vec<T>::width / 2>(v, combine);
}
template <typename T>
SIMD_INLINE T sum_lanes(Vec<T> v) {
  return fold_lanes(v, [](Vec<T> a, Vec<T> b) { return a + b; });
}
template <typename T>
SIMD_INLINE T max_lanes(Vec<T> v) {
  return fold_lanes(v, [](Vec<T> a, Vec<T> b) { return max(a, b); });
}
template <typename T>
SIMD_INLINE T min_lanes(Vec<T> v) {
  return fold_lanes(v, [](Vec<T> a, Vec<T> b) { return min(a, b); });
}

SIMD_INLINE Vec<uint64_t> multiply_even(Vec<uint32_t> a, Vec<uint32_t> b) {
  return Vec<uint64_t>(native_multiply_even<Vec<uint64_t>::Native>(a.lanes, b.lanes));
}

}  // namespace
}  // namespace MINIDL_TARGET
