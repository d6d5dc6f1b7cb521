// What a reduction does with the numbers that it meets: sums, extremes with their places, variances.
#pragma once
#include <math.h>

#include "rows.cuh"

namespace MINIDL_TARGET {
namespace {

// A reducer starts a Part from the first element of what is reduced, adds items to it - value(k) stands at place(k),
// the first `valid` of them exist, at least one -, merges two Parts and finishes an output.

template <typename T>
struct Summation {
  using Part = T;
  T* out;
  T divisor;
  __device__ T start(const T*, int64_t) const { return 0; }
  template <int items, typename Value, typename Place>
  __device__ void add(T& sum, int valid, Value value, Place) const {
    sum += sum_tree<0, items>([&](int k) { return k < valid ? value(k) : T(0); });
  }
  __device__ T operator()(T a, T b) const { return a + b; }
  __device__ void finish(int64_t i, T sum) const { out[i] = sum / divisor; }
};

// ---- maximum and minimum, with the first place

struct Greater {
  template <typename T>
  static __device__ bool compare(T a, T b) {
    return a > b;
  }
};
struct Less {
  template <typename T>
  static __device__ bool compare(T a, T b) {
    return a < b;
  }
};

template <typename T>
struct Place {
  int64_t index;
  T value;
};

template <typename T, typename Order>
struct Extreme {
  using Part = Place<T>;
  T* out;
  int64_t* index;

  static __device__ bool is_better(T a, T b) { return Order::compare(a, b) || (a != a && b == b); }
  // Behind every other place, with the value that no other is worse than.
  __device__ Part start(const T*, int64_t) const {
    return {INT64_MAX, Order::compare(T(1), T(0)) ? -(T)INFINITY : (T)INFINITY};
  }
  template <int items, typename Value, typename PlaceOf>
  __device__ void add(Part& best, int valid, Value value, PlaceOf place) const {
    T best_value = value(0);
    int best_item = 0;
#pragma unroll
    for (int k = 1; k < items; ++k)
      if (k < valid && is_better(value(k), best_value)) {
        best_value = value(k);
        best_item = k;
      }
    best = (*this)(best, Part{place(best_item), best_value});
  }
  __device__ Part operator()(Part a, Part b) const {
    bool is_equal = a.value == b.value || (a.value != a.value && b.value != b.value);
    return is_better(b.value, a.value) || (is_equal && b.index < a.index) ? b : a;
  }
  __device__ void finish(int64_t i, Part best) const {
    if (out) out[i] = best.value;
    if (index) index[i] = best.index;
  }
};

// ---- variance

// Of x - shift: how many, their mean, the sum of squared deviations from it. All parts of an output share its shift.
template <typename T>
struct Moments {
  T count, mean, squares, shift;
};

// Two passes over the items in registers, then the formula of Chan, Golub and LeVeque (1979): no cancellation.
template <typename T>
struct Variance {
  using Part = Moments<T>;
  T *mean, *out;
  int64_t reduced;
  double correction;

  // The shift is the first element, or 0 where that is no number to subtract.
  __device__ Part start(const T* first, int64_t reduced) const {
    const T shift = reduced > 0 ? *first : T(0);
    return {0, 0, 0, fabs(shift) < (T)INFINITY ? shift : T(0)};
  }
  template <int items, typename Value, typename Place>
  __device__ void add(Part& moments, int valid, Value value, Place) const {
    const T shift = moments.shift, share = T(1) / (T)valid;
    const T mean = share * sum_tree<0, items>([&](int k) { return k < valid ? value(k) - shift : T(0); });
    const T squares = sum_tree<0, items>([&](int k) {
      const T deviation = value(k) - shift - mean;
      return k < valid ? deviation * deviation : T(0);
    });
    moments = (*this)(moments, Part{(T)valid, mean, squares, shift});
  }
  __device__ Part operator()(Part a, Part b) const {
    const T count = a.count + b.count, inverse = count > 0 ? 1 / count : T(0);
    const T share_of_a = a.count * inverse, share_of_b = b.count * inverse, difference = b.mean - a.mean;
    return {count, a.mean * share_of_a + b.mean * share_of_b,
            a.squares + b.squares + difference * difference * (a.count * share_of_b), a.shift};
  }
  __device__ void finish(int64_t i, Part moments) const {
    const double freedom = (double)reduced - correction;
    if (mean) mean[i] = reduced > 0 ? moments.shift + moments.mean : (T)NAN;
    out[i] = moments.squares / (T)(freedom > 0 ? freedom : 0);
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
