// Sums over the columns of tall matrices, made per chunk of rows by several threads and merged in one order.
#pragma once
#include <stdint.h>
#include <string.h>

#include "bands.h"
#include "pairwise.h"
#include "parallel.h"
#include "scratch.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// One value per chunk and column, of each quantity.
template <typename T, int quantities>
struct ChunkTable {
  int64_t columns;
  T* values;
  ChunkTable(const Chunks& chunks, int64_t columns)
      : columns(columns), values((T*)minidl::scratch_memory(chunks.count * columns * quantities * sizeof(T))) {}
  SIMD_INLINE T* of(int64_t chunk, int quantity) const { return values + (chunk * quantities + quantity) * columns; }
};

// body(band, chunk) for every band of every chunk of rows.
template <typename T, typename Body>
void for_row_chunks(Stream stream, const Chunks& chunks, int64_t columns, const Body& body) {
  parallel_for(
      stream, chunks.count, 1,
      [&](int64_t first, int64_t last) {
        for (int64_t chunk = first; chunk < last; ++chunk)
          for_bands<T>(0, columns, chunks.size, columns, [&](Band band) { body(band, chunk); });
      },
      1);
}

// Sums over each column: sum(band, begin, end, sums) gives those of a chunk of rows, finish(place, sums, table)
// takes those of all rows for one vector of columns; what the table holds for these columns is free then.
template <typename T, int quantities, typename Sum, typename Finish>
void sum_tall_columns(Stream stream, int64_t rows, int64_t columns, const Sum& sum, const Finish& finish) {
  const Chunks chunks(rows, columns);
  const ChunkTable<T, quantities> table(chunks, columns);
  for_row_chunks<T>(stream, chunks, columns, [&](Band band, int64_t chunk) {
    BandSums<T, quantities> sums;
    sum(band, chunks.begin(chunk), chunks.end(chunk), sums);
    for (int q = 0; q < quantities; ++q) memcpy(table.of(chunk, q) + band.column, sums.of[q], band.columns * sizeof(T));
  });
  for_vectors<T>(0, columns, [&](auto at) {
    Vec<T> sums[quantities];
    for (int q = 0; q < quantities; ++q) {
      Vec<T> parts[max_chunks];
      for (int64_t i = 0; i < chunks.count; ++i) parts[i] = at(table.of(i, q));
      sums[q] = merge_pairwise(parts, chunks.count, 1, [](Vec<T> a, Vec<T> b) { return a + b; });
    }
    finish(at, sums, table);
  });
}

}  // namespace
}  // namespace MINIDL_TARGET
