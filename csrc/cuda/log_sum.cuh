// The logarithm of a row's sum of exponentials, without overflow: the largest element and a sum relative to it.
#pragma once
#include "rows.cuh"

namespace MINIDL_TARGET {
namespace {

// sum = sum of e^(x - shift()).
template <typename T>
struct LogSum {
  T max, sum;
  // 0 in place of an infinity, from which nothing can be subtracted.
  __device__ static T finite_or_zero(T max) { return fabs(max) < (T)INFINITY ? max : T(0); }
  __device__ T shift() const { return finite_or_zero(max); }
  // The sum of e^(x - max) as it stands, nan where max is infinite.
  __device__ T sum_of_differences() const { return sum + (max - max); }
  __device__ static LogSum nothing() { return {-(T)INFINITY, 0}; }
};

struct Larger {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return fmax(a, b);
  }
};

// Online softmax, Milakov and Gimelshein 2018.
struct MergeLogSums {
  template <typename T>
  static __device__ T rescaled(LogSum<T> a, T max) {
    return a.max == max ? a.sum : a.sum * exp(a.max - max);
  }
  template <typename T>
  __device__ LogSum<T> operator()(LogSum<T> a, LogSum<T> b) const {
    const T max = fmax(a.max, b.max);
    return {max, rescaled(a, max) + rescaled(b, max)};
  }
};

// Of one row, in all threads of its group. nan does not become max, but reaches the sum.
template <typename T, typename Shape>
__device__ LogSum<T> log_sum(const Row<T, Shape>& row) {
  auto largest = [](const auto& batch) {
    T result = -(T)INFINITY;
#pragma unroll
    for (int k = 0; k < batch.items; ++k)
      if (k < batch.valid_items()) result = fmax(result, batch.item(k));
    return result;
  };
  if constexpr (Shape::is_held) {
    const T max = group_reduce<Shape::lanes>(largest(row.held), Larger{});
    const T shift = LogSum<T>::finite_or_zero(max);
    return {max, row.sum([=](int64_t, T x) { return exp(x - shift); })};
  } else {
    LogSum<T> total = LogSum<T>::nothing();
    row.each([&](const auto& batch) {
      const T max = fmax(total.max, largest(batch)), shift = LogSum<T>::finite_or_zero(max);
      total = {max, MergeLogSums::rescaled(total, max) + batch.sum([=](int64_t, T x) { return exp(x - shift); })};
    });
    return group_reduce<Shape::lanes>(total, MergeLogSums{});
  }
}

}  // namespace
}  // namespace MINIDL_TARGET
