// Mean and sum of squared deviations: two passes over a leaf that stays in the L1 cache, or one where the mean of the
// rows before is near enough; leaves merged by the formula of Chan, Golub and LeVeque (1979). One pass over memory, no
// cancellation.
#pragma once
#include <stdint.h>

#include "bands.h"
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

// Of the columns of a band.
template <typename T>
struct BandMoments {
  alignas(64) T mean[band_columns], squares[band_columns];  // mean of x - shift, sum of (x - shift - mean)^2
};

template <typename T>
SIMD_INLINE void leaf_moments_of_strips(Band band, const T* x, const T* shift, int64_t begin, int64_t end,
                                        BandMoments<T>& moments) {
  for_strips<T>(band, [&](auto strip) {
    constexpr int vectors = strip.vectors;
    Vec<T> center[vectors], sums[vectors] = {}, squares[vectors] = {}, share(T(1) / (T)(end - begin));
    for (int k = 0; k < vectors; ++k) center[k] = place_in_band(band, strip, k)(shift);
    for_strip_rows(strip, begin, end, [&](auto at, int k) { sums[k] += at(x) - center[k]; });
    for (int k = 0; k < vectors; ++k) {
      Vec<T> mean = sums[k] * share;
      place_in_band(band, strip, k).store(moments.mean, mean);
      center[k] += mean;  // its rounding error e adds only (end - begin) e^2 to the squares
    }
    for_strip_rows(strip, begin, end, [&](auto at, int k) {
      Vec<T> deviation = at(x) - center[k];
      squares[k] = fma(deviation, deviation, squares[k]);
    });
    for (int k = 0; k < vectors; ++k) place_in_band(band, strip, k).store(moments.squares, squares[k]);
  });
}

// One pass: deviations are taken from the mean of the leaf before, and what that was off is subtracted. It is n d^2 for
// means that are d apart, summed over all leaves at most four times the squares between the leaves: rounding it costs
// the result a few ulp, whatever the data. center is left at this leaf's mean.
template <typename T>
SIMD_INLINE void leaf_moments_of_rows(Band band, const T* x, const T* shift, T* center, int64_t begin, int64_t end,
                                      BandMoments<T>& moments) {
  constexpr int width = Vec<T>::width;
  for (int64_t i = 0; i < band.columns; i += width) {
    store(moments.mean + i, Vec<T>{});
    store(moments.squares + i, Vec<T>{});
  }
  for_band_rows<T>(band, begin, end, [&](auto at, auto in_band) {
    const int64_t i = in_band.index;
    // Both loads before a store: the arrays lie 4 KiB apart, where a load seems to depend on the store.
    Vec<T> deviation = fetched(at)(x) - load(center + i), sum = load(moments.mean + i),
           squares = load(moments.squares + i);
    store(moments.mean + i, sum + deviation);
    store(moments.squares + i, fma(deviation, deviation, squares));
  });
  const Vec<T> share(T(1) / (T)(end - begin));
  for_vectors<T>(0, band.columns, [&](auto at) {
    Vec<T> sum = at(moments.mean), offset = sum * share, old = at(center);
    at.store(moments.mean, (old - at(shift)) + offset);
    at.store(moments.squares, max(Vec<T>{}, fma(-sum, offset, at(moments.squares))));
    at.store(center, shift_from(old + offset));
  });
}

template <typename T>
void merge_moments(Band band, const T* x, const T* shift, T* center, int64_t begin, int64_t end,
                   BandMoments<T>& moments) {
  if (end - begin <= band.leaf) {
    if (center) return leaf_moments_of_rows(band, x, shift, center, begin, end, moments);
    return leaf_moments_of_strips(band, x, shift, begin, end, moments);
  }
  int64_t middle = pairwise_middle(begin, end, band.leaf);
  BandMoments<T> later;
  merge_moments(band, x, shift, center, begin, middle, moments);
  merge_moments(band, x, shift, center, middle, end, later);
  Vec<T> share((T)(end - middle) / (T)(end - begin)), weight(share * Vec<T>((T)(middle - begin)));
  for_vectors<T>(0, band.columns, [&](auto at) {
    Vec<T> mean = at(moments.mean), difference = at(later.mean) - mean;
    at.store(moments.mean, mean + difference * share);
    at.store(moments.squares, at(moments.squares) + (at(later.squares) + difference * difference * weight));
  });
}

// The moments of a band over the rows [begin, end), at least one, relative to shift, one value per column of the band.
template <typename T>
void band_moments(Band band, const T* x, const T* shift, int64_t begin, int64_t end, BandMoments<T>& moments) {
  if (!walks_rows<T>(band)) return merge_moments(band, x, shift, (T*)nullptr, begin, end, moments);
  // Whole registers are loaded at the edge as well.
  alignas(64) T center[band_columns] = {};
  for_vectors<T>(0, band.columns,
                 [&](auto at) { at.store(center, shift_from(at(x + begin * band.stride + band.column))); });
  merge_moments(band, x, shift, center, begin, end, moments);
}

// What a band's columns are shifted by: their values in row 0.
template <typename T>
SIMD_INLINE void band_shift(Band band, const T* x, T* shift) {
  for_vectors<T>(0, band.columns, [=](auto at) { at.store(shift, shift_from(at(x + band.column))); });
}

}  // namespace
}  // namespace MINIDL_TARGET
