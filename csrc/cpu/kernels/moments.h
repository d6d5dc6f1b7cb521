// Mean and sum of squared deviations: two passes over a leaf that stays in the L1 cache, leaves merged by the formula
// of Chan, Golub and LeVeque (1979). One pass over memory, no cancellation.
#pragma once
#include <stdint.h>

#include "pairwise.h"

namespace MINIDL_TARGET {
namespace {

struct Moments {
  double count, mean, squares;  // mean of x - shift, sum of (x - shift - mean)^2
};

// 0 where the first value is no number to subtract.
template <typename T>
SIMD_INLINE Vec<T> shift_from(Vec<T> first) {
  return select(abs(first) < Vec<T>((T)__builtin_inff()), first, Vec<T>{});
}
template <typename T>
SIMD_INLINE T shift_from(T first) {
  return __builtin_fabs(first) < __builtin_inf() ? first : 0;
}

SIMD_INLINE Moments merge(Moments a, Moments b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  double count = a.count + b.count, difference = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + difference * share, a.squares + b.squares + difference * difference * (a.count * share)};
}

template <typename T>
Moments row_moments(const T* x, int64_t begin, int64_t end, T shift) {
  if (end - begin > row_leaf<T>) {
    int64_t middle = pairwise_middle(begin, end, row_leaf<T>);
    return merge(row_moments(x, begin, middle, shift), row_moments(x, middle, end, shift));
  }
  Vec<T> origin(shift);
  T count = (T)(end - begin);
  T mean = sum_row<T>(begin, end, [=](auto at) { return at(x) - origin; }) / count;
  T squares = sum_row<T>(begin, end, [=](auto at) {
    Vec<T> deviation = (at(x) - origin) - Vec<T>(mean);
    return deviation * deviation;
  });
  return {(double)count, count > 0 ? (double)mean : 0, (double)squares};
}

template <typename T, int vectors>
struct ColumnMoments {
  Vec<T> shift[vectors], mean[vectors], squares[vectors];
};

template <typename T, typename Strip, typename Result>
SIMD_INLINE void column_leaf_moments(Strip strip, const T* x, int64_t begin, int64_t end, Result& moments) {
  auto sums = sum_columns<T, 1>(strip, begin, end,
                                [x, &moments](auto at, Vec<T>* sum) { *sum += at(x) - moments.shift[at.vector]; });
  for (int k = 0; k < Strip::vectors; ++k) moments.mean[k] = sums.v[k] / Vec<T>((T)(end - begin));
  auto squares = sum_columns<T, 1>(strip, begin, end, [x, &moments](auto at, Vec<T>* sum) {
    Vec<T> deviation = (at(x) - moments.shift[at.vector]) - moments.mean[at.vector];
    *sum += deviation * deviation;
  });
  for (int k = 0; k < Strip::vectors; ++k) moments.squares[k] = squares.v[k];
}

// Fills in mean and squares, given the shift.
template <typename T, typename Strip, typename Result>
void merge_column_moments(Strip strip, const T* x, int64_t begin, int64_t end, Result& moments) {
  if (end - begin <= column_leaf) return column_leaf_moments(strip, x, begin, end, moments);
  int64_t middle = pairwise_middle(begin, end, column_leaf);
  Result later = moments;
  merge_column_moments(strip, x, begin, middle, moments);
  merge_column_moments(strip, x, middle, end, later);
  Vec<T> share((T)(end - middle) / (T)(end - begin)), weight(share * Vec<T>((T)(middle - begin)));
  for (int k = 0; k < Strip::vectors; ++k) {
    Vec<T> difference = later.mean[k] - moments.mean[k];
    moments.mean[k] += difference * share;
    moments.squares[k] += later.squares[k] + difference * difference * weight;
  }
}

// The moments of a strip's columns over the rows [begin, end), at least one, relative to the values of row 0.
template <typename T, typename Strip>
SIMD_INLINE ColumnMoments<T, Strip::vectors> column_moments(Strip strip, const T* x, int64_t begin, int64_t end) {
  ColumnMoments<T, Strip::vectors> moments;
  for (int k = 0; k < Strip::vectors; ++k) moments.shift[k] = shift_from(strip.at(0, k)(x));
  merge_column_moments(strip, x, begin, end, moments);
  return moments;
}

}  // namespace
}  // namespace MINIDL_TARGET
