// Mean and sum of squared deviations: two passes over a leaf that stays in the L1 cache, leaves merged by the formula
// of Chan, Golub and LeVeque (1979). One pass over memory, no cancellation.
#pragma once
#include <stdint.h>

#include "pairwise.h"

namespace MINIDL_TARGET {
namespace {

struct Moments {
  double count, mean, squares;  // squares: sum of (x - mean)^2
};

SIMD_INLINE Moments merge(Moments a, Moments b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  double count = a.count + b.count, difference = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + difference * share, a.squares + b.squares + difference * difference * (a.count * share)};
}

template <typename T>
Moments row_moments(const T* x, int64_t begin, int64_t end) {
  if (end - begin > row_leaf<T>) {
    int64_t middle = pairwise_middle(begin, end, row_leaf<T>);
    return merge(row_moments(x, begin, middle), row_moments(x, middle, end));
  }
  T count = (T)(end - begin);
  T mean = sum_row<T>(begin, end, [x](auto at) { return at(x); }) / count;
  T squares = sum_row<T>(begin, end, [x, mean](auto at) {
    Vec<T> deviation = at(x) - Vec<T>(mean);
    return deviation * deviation;
  });
  return {(double)count, count > 0 ? (double)mean : 0, (double)squares};
}

template <typename T, int vectors>
struct ColumnMoments {
  Vec<T> mean[vectors], squares[vectors];
};

template <typename T, typename Strip>
SIMD_INLINE ColumnMoments<T, Strip::vectors> column_leaf_moments(Strip strip, const T* x, int64_t begin, int64_t end) {
  ColumnMoments<T, Strip::vectors> moments;
  auto sums = sum_columns<T, 1>(strip, begin, end, [x](auto at, Vec<T>* sum) { *sum += at(x); });
  for (int k = 0; k < Strip::vectors; ++k) moments.mean[k] = sums.v[k] / Vec<T>((T)(end - begin));
  auto squares = sum_columns<T, 1>(strip, begin, end, [x, &moments](auto at, Vec<T>* sum) {
    Vec<T> deviation = at(x) - moments.mean[at.vector];
    *sum += deviation * deviation;
  });
  for (int k = 0; k < Strip::vectors; ++k) moments.squares[k] = squares.v[k];
  return moments;
}

// The moments of a strip's columns over the rows [begin, end), at least one.
template <typename T, typename Strip>
ColumnMoments<T, Strip::vectors> column_moments(Strip strip, const T* x, int64_t begin, int64_t end) {
  if (end - begin <= column_leaf) return column_leaf_moments(strip, x, begin, end);
  int64_t middle = pairwise_middle(begin, end, column_leaf);
  auto a = column_moments(strip, x, begin, middle);
  auto b = column_moments(strip, x, middle, end);
  Vec<T> share((T)(end - middle) / (T)(end - begin)), weight(share * Vec<T>((T)(middle - begin)));
  for (int k = 0; k < Strip::vectors; ++k) {
    Vec<T> difference = b.mean[k] - a.mean[k];
    a.mean[k] += difference * share;
    a.squares[k] += b.squares[k] + difference * difference * weight;
  }
  return a;
}

}  // namespace
}  // namespace MINIDL_TARGET
