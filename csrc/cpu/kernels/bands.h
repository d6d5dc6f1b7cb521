// Sums over the rows of a matrix, for a band of neighbouring columns. The rows are walked in leaves, each across the
// whole band: strips that were walked to the bottom one after another would reach half of the memory's bandwidth
// (32768 x 512 floats on Zen 4: 8.9 GB/s, leaves of 32 rows 10.6, of 16 rows 17.6, row by row 17.4).
#pragma once
#include <stdint.h>

#include "pairwise.h"
#include "traversal.h"

namespace MINIDL_TARGET {
namespace {

constexpr int64_t band_columns = 256;
// Columns of a matrix whose rows are stride elements apart. In cache the order of the walk is of no matter, and deeper
// leaves leave less to be merged.
struct Band {
  int64_t column, columns, stride;
  bool is_in_cache;
  int64_t leaf() const { return is_in_cache ? 32 : 16; }
};

// body(band) for the columns [begin, end) of a matrix; begin must be a multiple of strip_columns.
template <typename T, typename Body>
SIMD_INLINE void for_bands(int64_t begin, int64_t end, int64_t rows, int64_t stride, Body body) {
  constexpr int64_t cache_bytes = 1 << 20;  // the smallest second-level cache of current servers
  const bool is_in_cache = rows * stride * (int64_t)sizeof(T) <= cache_bytes;
  for (int64_t column = begin; column < end; column += band_columns)
    body(Band{column, end - column < band_columns ? end - column : band_columns, stride, is_in_cache});
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
  const int64_t leaf = band.is_in_cache ? rows : band.leaf();
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

// body(place, vector) for a strip's rows [begin, end), a leaf. The strips of the next leaf begin on other pages, where
// no hardware prefetcher follows: out of cache, each row asks for the one a leaf below.
template <typename Strip, typename Body>
SIMD_INLINE void for_leaf_rows(Band band, Strip strip, int64_t begin, int64_t end, Body body) {
  if (band.is_in_cache) {
    for (int64_t row = begin; row < end; ++row)
#pragma GCC unroll 4
      for (int k = 0; k < strip.vectors; ++k) body(strip.at(row, k), k);
    return;
  }
  for (int64_t row = begin; row < end; ++row)
#pragma GCC unroll 4
    for (int k = 0; k < strip.vectors; ++k)
      body(Ahead<decltype(strip.at(row, k))>{strip.at(row, k), band.leaf() * band.stride}, k);
}

template <typename T, int quantities>
struct BandSums {
  alignas(64) T of[quantities][band_columns];
};

// Sums over the rows [begin, end); term(place, prepared, sums) adds one vector's share to sums[0 .. quantities), where
// prepared = prepare(place of the column) is made once per leaf from arrays with one element per column of the matrix.
template <typename T, int quantities, typename Prepare, typename Term>
void sum_band(Band band, int64_t begin, int64_t end, const Prepare& prepare, const Term& term,
              BandSums<T, quantities>& sums) {
  if (end - begin > band.leaf()) {
    int64_t middle = pairwise_middle(begin, end, band.leaf());
    BandSums<T, quantities> later;
    sum_band(band, begin, middle, prepare, term, sums);
    sum_band(band, middle, end, prepare, term, later);
    for (int q = 0; q < quantities; ++q)
      for_vectors<T>(0, band.columns, [&](auto at) { at.store(sums.of[q], at(sums.of[q]) + at(later.of[q])); });
    return;
  }
  for_strips<T>(band, [&](auto strip) {
    constexpr int vectors = strip.vectors;
    decltype(prepare(strip.top(0))) prepared[vectors];
    for (int k = 0; k < vectors; ++k) prepared[k] = prepare(strip.top(k));
    Sums<T, vectors * quantities> leaf = {};
    for_leaf_rows(band, strip, begin, end, [&](auto at, int k) { term(at, prepared[k], leaf.v + k * quantities); });
    for (int k = 0; k < vectors; ++k)
      for (int q = 0; q < quantities; ++q) place_in_band(band, strip, k).store(sums.of[q], leaf.v[k * quantities + q]);
  });
}

// The same where a term is made of its own elements alone.
template <typename T, int quantities, typename Term>
SIMD_INLINE void sum_band(Band band, int64_t begin, int64_t end, const Term& term, BandSums<T, quantities>& sums) {
  struct Nothing {};
  sum_band(
      band, begin, end, [](auto) { return Nothing{}; }, [&term](auto at, Nothing, Vec<T>* sum) { term(at, sum); },
      sums);
}

}  // namespace
}  // namespace MINIDL_TARGET
