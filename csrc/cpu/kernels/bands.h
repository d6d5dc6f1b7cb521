// Sums over the rows of a matrix, for a band of neighbouring columns. Beyond the caches a leaf of rows is walked row by
// row, its sums in the first-level cache: read in any other order than memory's, pages are fetched line by line as they
// are asked for (49152 x 256 floats on one thread of a Zen 4: strips of 64 columns 11 GB/s, two rows at a time 9, row
// by row 28).
#pragma once
#include <stdint.h>

#include "pairwise.h"
#include "traversal.h"

namespace MINIDL_TARGET {
namespace {

// A row of so many floats is a page. In cache, narrower bands leave more of it to the matrix.
constexpr int64_t band_columns = 1024, cached_band_columns = 256;

// Columns of a matrix whose rows are stride elements apart.
struct Band {
  int64_t column, columns, stride;
  bool is_in_cache;
  static constexpr int64_t leaf = 32;  // rows
};

// Whether a leaf is walked row by row, not in strips; the same for all bands of a matrix, however threads cut it.
template <typename T>
SIMD_INLINE bool walks_rows(Band band) {
  return !band.is_in_cache && band.stride > strip_columns<T>;
}

// A matrix that is worth cutting into chunks of rows: threads that took columns would read a few hundred bytes of each
// row.
template <typename T>
bool is_tall(int64_t rows, int64_t columns) {
  constexpr int64_t cache_bytes = 8 << 20;
  return rows >= 1024 && rows * columns * (int64_t)sizeof(T) >= cache_bytes;
}

// body(band) for the columns [begin, end) of a matrix; begin must be a multiple of strip_columns.
template <typename T, typename Body>
SIMD_INLINE void for_bands(int64_t begin, int64_t end, int64_t rows, int64_t stride, Body body) {
  constexpr int64_t cache_bytes = 1 << 20;  // the smallest second-level cache of current servers
  const bool is_in_cache = rows * stride * (int64_t)sizeof(T) <= cache_bytes;
  const int64_t width = is_in_cache ? cached_band_columns : band_columns;
  for (int64_t column = begin; column < end; column += width)
    body(Band{column, end - column < width ? end - column : width, stride, is_in_cache});
}

template <typename T, typename Body>
SIMD_INLINE void for_strips(Band band, Body body) {
  for_strips<T>(band.column, band.column + band.columns, band.stride, body);
}

// Vector k of a strip in arrays with one element per column of the band.
template <typename Strip>
SIMD_INLINE auto place_in_band(Band band, Strip strip, int k) {
  return relative_to(strip.top(k), band.column);
}

// body(place, prepared) for every vector of the rows [0, rows), leaf by leaf; prepared = prepare(place) is made once
// per leaf from arrays with one element per column of the band.
template <typename T, typename Prepare, typename Body>
SIMD_INLINE void for_leaves(Band band, int64_t rows, Prepare prepare, Body body) {
  const int64_t leaf = band.is_in_cache ? rows : band.leaf;
  for (int64_t first = 0; first < rows; first += leaf) {
    const int64_t last = rows - first < leaf ? rows : first + leaf;
    for_strips<T>(band, [&](auto strip) {
      decltype(prepare(strip.top(0))) prepared[strip.vectors];
      for (int k = 0; k < strip.vectors; ++k) prepared[k] = prepare(place_in_band(band, strip, k));
      for (int64_t row = first; row < last; ++row)
#pragma GCC unroll 4
        for (int k = 0; k < strip.vectors; ++k) body(strip.at(row, k), prepared[k]);
    });
  }
}

// body(place, vector) for a strip's rows [begin, end).
template <typename Strip, typename Body>
SIMD_INLINE void for_strip_rows(Strip strip, int64_t begin, int64_t end, Body body) {
  for (int64_t row = begin; row < end; ++row)
#pragma GCC unroll 4
    for (int k = 0; k < strip.vectors; ++k) body(strip.at(row, k), k);
}

// body(place, place in the band) for the rows [begin, end) in the order of memory.
template <typename T, typename Body>
SIMD_INLINE void for_band_rows(Band band, int64_t begin, int64_t end, Body body) {
  for (int64_t row = begin; row < end; ++row)
    for_vectors<T>(0, band.columns, [&](auto in_band) {
      auto at = relative_to(in_band, -(row * band.stride + band.column));
      at.row = row;
      body(at, in_band);
    });
}

template <typename T, int quantities>
struct BandSums {
  alignas(64) T of[quantities][band_columns];
};

// A leaf in the order of memory. The sums are whole registers also at the edge: what was stored by a mask could not be
// loaded again before it has reached the cache.
template <typename T, int quantities, typename Prepare, typename Term>
SIMD_INLINE void sum_leaf_rows(Band band, int64_t begin, int64_t end, const Prepare& prepare, const Term& term,
                               BandSums<T, quantities>& sums) {
  for (int q = 0; q < quantities; ++q)
    for (int64_t i = 0; i < band.columns; i += Vec<T>::width) store(sums.of[q] + i, Vec<T>{});
  for_band_rows<T>(band, begin, end, [&](auto at, auto in_band) {
    Vec<T> sum[quantities];
    for (int q = 0; q < quantities; ++q) sum[q] = load(sums.of[q] + in_band.index);
    term(at, prepare(relative_to(in_band, -band.column)), sum);
    for (int q = 0; q < quantities; ++q) store(sums.of[q] + in_band.index, sum[q]);
  });
}

template <typename T, int quantities, typename Prepare, typename Term>
SIMD_INLINE void sum_leaf_strips(Band band, int64_t begin, int64_t end, const Prepare& prepare, const Term& term,
                                 BandSums<T, quantities>& sums) {
  for_strips<T>(band, [&](auto strip) {
    constexpr int vectors = strip.vectors;
    decltype(prepare(strip.top(0))) prepared[vectors];
    for (int k = 0; k < vectors; ++k) prepared[k] = prepare(strip.top(k));
    Sums<T, vectors * quantities> leaf = {};
    for_strip_rows(strip, begin, end, [&](auto at, int k) { term(at, prepared[k], leaf.v + k * quantities); });
    for (int k = 0; k < vectors; ++k)
      for (int q = 0; q < quantities; ++q) place_in_band(band, strip, k).store(sums.of[q], leaf.v[k * quantities + q]);
  });
}

// Sums over the rows [begin, end); term(place, prepared, sums) adds one vector's share to sums[0 .. quantities), where
// prepared = prepare(place of the column) is made from arrays with one element per column of the matrix. Each leaf's
// rows are named to before_leaf(begin, end) first.
template <typename T, int quantities, typename Prepare, typename Term, typename BeforeLeaf>
void sum_band(Band band, int64_t begin, int64_t end, const Prepare& prepare, const Term& term,
              BandSums<T, quantities>& sums, const BeforeLeaf& before_leaf) {
  if (end - begin > band.leaf) {
    int64_t middle = pairwise_middle(begin, end, band.leaf);
    BandSums<T, quantities> later;
    sum_band(band, begin, middle, prepare, term, sums, before_leaf);
    sum_band(band, middle, end, prepare, term, later, before_leaf);
    for (int q = 0; q < quantities; ++q)
      for_vectors<T>(0, band.columns, [&](auto at) { at.store(sums.of[q], at(sums.of[q]) + at(later.of[q])); });
    return;
  }
  before_leaf(begin, end);
  if (walks_rows<T>(band))
    sum_leaf_rows(band, begin, end, prepare, term, sums);
  else
    sum_leaf_strips(band, begin, end, prepare, term, sums);
}

struct DoNothing {
  SIMD_INLINE void operator()(int64_t, int64_t) const {}
};

// The same where a term is made of its own elements alone.
template <typename T, int quantities, typename Term, typename BeforeLeaf = DoNothing>
SIMD_INLINE void sum_band(Band band, int64_t begin, int64_t end, const Term& term, BandSums<T, quantities>& sums,
                          const BeforeLeaf& before_leaf = {}) {
  struct Nothing {};
  sum_band(
      band, begin, end, [](auto) { return Nothing{}; }, [&term](auto at, Nothing, Vec<T>* sum) { term(at, sum); }, sums,
      before_leaf);
}

}  // namespace
}  // namespace MINIDL_TARGET
