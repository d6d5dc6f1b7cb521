// The largest or the smallest of some numbers, and its place: of equals the first, and nan before all of them.
#pragma once
#include <stdint.h>

#include "rows.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

struct Greater {
  template <typename V>
  static SIMD_INLINE auto compare(V a, V b) {
    return a > b;
  }
  template <typename V>
  static SIMD_INLINE V pick(V a, V b) {
    return max(a, b);
  }
};
struct Less {
  template <typename V>
  static SIMD_INLINE auto compare(V a, V b) {
    return a < b;
  }
  template <typename V>
  static SIMD_INLINE V pick(V a, V b) {
    return min(a, b);
  }
};

template <typename T>
struct Place {
  T value;
  int64_t index;
};

// The best value of each lane and where it was found; lanes keep the earlier of equals, and the first nan.
template <typename T, typename Order>
struct Best {
  using I = IntegerLike<T>;
  Vec<T> value;
  Vec<I> index;

  static SIMD_INLINE Mask<T> is_better(Vec<T> a, Vec<T> b) { return Order::compare(a, b) | ((a != a) & (b == b)); }
  SIMD_INLINE void take(Mask<T> better, Vec<T> v, Vec<I> places) {
    value = select(better, v, value);
    index = select(Mask<I>{better.lanes}, places, index);
  }
  SIMD_INLINE void offer(Vec<T> v, Vec<I> places) { take(is_better(v, value), v, places); }
  SIMD_INLINE void offer_number(Vec<T> v, Vec<I> places) { take(Order::compare(v, value), v, places); }
  SIMD_INLINE void merge(Best b) {
    Mask<T> is_earlier{(b.index < index).lanes};
    Mask<T> is_equal = (b.value == value) | ((b.value != b.value) & (value != value));
    take(is_better(b.value, value) | (is_equal & is_earlier), b.value, b.index);
  }
  template <int half = Vec<T>::width / 2>
  SIMD_INLINE Place<T> over_lanes() const {
    if constexpr (half == 0) {
      return {value[0], index[0]};
    } else {
      Best all = *this;
      all.merge({exchange_lanes<half>(value), exchange_lanes<half>(index)});
      return all.template over_lanes<half / 2>();
    }
  }
};

// The best of each of some short rows, one per lane, and its column; x holds at least one.
template <typename Order, typename T>
SIMD_INLINE Best<T, Order> best_of_rows(ShortRows<T> rows, const T* x) {
  using I = IntegerLike<T>;
  Best<T, Order> best{load(x), Vec<I>((I)0)};
  Vec<I> place((I)0);
  rows.each([&](auto at) {
    best.offer(at(x), place);
    place += Vec<I>((I)1);
  });
  return best;
}

}  // namespace
}  // namespace MINIDL_TARGET
