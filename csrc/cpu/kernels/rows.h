// Row-wise work written once for two layouts: a long row fills the lanes with its columns, short rows fill them with
// rows, as many at a time as there are lanes. A body sees only places, and per-row values as vectors.
#pragma once
#include <stdint.h>

#include "gemm/register_transpose.h"
#include "pairwise.h"
#include "parallel.h"
#include "traversal.h"

namespace MINIDL_TARGET {
namespace {

// One row; per-row values stand in every lane.
template <typename T>
struct LongRow {
  int64_t row, columns;
  T* streamed;  // where the row's result goes past the caches, else null
  static constexpr int rows = 1;
  template <typename Body>
  SIMD_INLINE void each(Body body) const {
    for_vectors<T>(0, columns, body);
  }
  // out[place] = value(place), what the row ends with; out may hold what the body kept there for itself.
  template <typename Value>
  SIMD_INLINE void finish(T* out, const Value& value) const {
    if (streamed)
      for_streamed_vectors(streamed, 0, columns, [&](auto at) { at.store(streamed, value(at)); });
    else
      each([&](auto at) { at.store(out, value(at)); });
  }
  template <typename Value>
  SIMD_INLINE Vec<T> sum(const Value& value) const {
    return Vec<T>(sum_row<T>(0, columns, value));
  }
  template <typename Value>
  SIMD_INLINE Vec<T> largest(const Value& value) const {
    Vec<T> result(-(T)__builtin_inff());
    each([&](auto at) { result = max(result, select(first_lanes<T>(at.count), value(at), result)); });
    return Vec<T>(max_lanes(result));
  }
  SIMD_INLINE Vec<T> load(const T* per_row) const { return Vec<T>(per_row[0]); }
  SIMD_INLINE void store(T* per_row, Vec<T> v) const { per_row[0] = v[0]; }
  template <typename Place>
  SIMD_INLINE Vec<T> of_column(const T* per_column, Place at) const {
    return cached(at)(per_column);
  }
};

// Neighbouring rows, one in each lane, in arrays that hold column c of all of them at c * width.
template <typename T>
struct ShortRows {
  int64_t row, columns;
  int rows;
  static constexpr int width = Vec<T>::width;
  static constexpr int max_columns = 32;
  template <typename Body>
  SIMD_INLINE void each(Body body) const {
    for (int64_t c = 0; c < columns; ++c) body(Whole<T>{c * width, 0});
  }
  template <typename Value>
  SIMD_INLINE void finish(T* out, const Value& value) const {
    each([&](auto at) { at.store(out, value(at)); });
  }
  template <typename Value>
  SIMD_INLINE Vec<T> sum(const Value& value) const {
    Vec<T> result{};
    each([&](auto at) { result += value(at); });
    return result;
  }
  template <typename Value>
  SIMD_INLINE Vec<T> largest(const Value& value) const {
    Vec<T> result(-(T)__builtin_inff());
    each([&](auto at) { result = max(result, value(at)); });
    return result;
  }
  SIMD_INLINE Vec<T> load(const T* per_row) const {
    return rows == width ? MINIDL_TARGET::load(per_row) : load_partial(per_row, rows);
  }
  SIMD_INLINE void store(T* per_row, Vec<T> v) const {
    rows == width ? MINIDL_TARGET::store(per_row, v) : store_partial(per_row, v, rows);
  }
  template <typename Place>
  SIMD_INLINE Vec<T> of_column(const T* per_column, Place at) const {
    return Vec<T>(per_column[at.index / width]);
  }

  struct alignas(64) Buffer {
    T lanes[max_columns * width];
  };
  // The rows of x, transposed; lanes without a row are 0. Whole registers run on into the next row: what they bring
  // along is not kept.
  SIMD_INLINE const T* gather(const T* x, Buffer& buffer) const {
    if (!x) return nullptr;
    const T *begin = x + row * columns, *end = begin + rows * columns;
    for (int64_t c = 0; c < columns; c += width) {
      const int count = (int)(columns - c < width ? columns - c : width);
      Vec<T> square[width];
#pragma GCC unroll 16
      for (int r = 0; r < width; ++r) {
        const T* from = begin + r * columns + c;
        square[r] = Vec<T>{};
        if (r < rows) square[r] = end - from >= width ? MINIDL_TARGET::load(from) : load_partial(from, count);
      }
      transpose_registers(square);
#pragma GCC unroll 16
      for (int k = 0; k < width; ++k)
        if (k < count) MINIDL_TARGET::store(buffer.lanes + (c + k) * width, square[k]);
    }
    return buffer.lanes;
  }
  // Whole registers run on into the next row, which is written later: by the next step, or to the left of it.
  SIMD_INLINE void scatter(const Buffer& buffer, T* out) const {
    if (!out) return;
    T *begin = out + row * columns, *end = begin + rows * columns;
    for (int64_t c = (columns - 1) / width * width; c >= 0; c -= width) {
      const int count = (int)(columns - c < width ? columns - c : width);
      Vec<T> square[width];
#pragma GCC unroll 16
      for (int k = 0; k < width; ++k)
        square[k] = k < count ? MINIDL_TARGET::load(buffer.lanes + (c + k) * width) : Vec<T>{};
      transpose_registers(square);
#pragma GCC unroll 16
      for (int r = 0; r < width; ++r) {
        T* to = begin + r * columns + c;
        if (r < rows && end - to >= width)
          MINIDL_TARGET::store(to, square[r]);
        else if (r < rows)
          store_partial(to, square[r], count);
      }
    }
  }
};

template <typename T, typename Body>
SIMD_INLINE void for_short_rows(int64_t first, int64_t last, int64_t columns, const T* a, const T* b, T* out,
                                Body body) {
  typename ShortRows<T>::Buffer a_lanes, b_lanes, out_lanes;
  for (int64_t row = first; row < last; row += Vec<T>::width) {
    ShortRows<T> rows{row, columns, (int)(last - row < Vec<T>::width ? last - row : Vec<T>::width)};
    body(rows, rows.gather(a, a_lanes), rows.gather(b, b_lanes), out ? out_lanes.lanes : out);
    rows.scatter(out_lanes, out);
  }
}

// What a body keeps in its out stays in the first-level cache; only what it finishes with is streamed to memory.
constexpr int64_t max_streamed_columns = 2048;

// body(rows, a, b, out) for the rows [first, last); a, b and out are this layout's arrays, null where those given are.
// A streamed body must write its result by finish().
template <typename T, typename Body>
SIMD_INLINE void for_rows(int64_t first, int64_t last, int64_t columns, const T* a, const T* b, T* out, Body body,
                          bool is_streamed = false) {
  if (columns <= ShortRows<T>::max_columns) return for_short_rows(first, last, columns, a, b, out, body);
  alignas(64) T buffer[max_streamed_columns];
  for (int64_t row = first; row < last; ++row) {
    const int64_t begin = row * columns;
    T* result = out ? out + begin : out;
    body(LongRow<T>{row, columns, is_streamed ? result : nullptr}, a + begin, b ? b + begin : b,
         is_streamed ? buffer : result);
  }
  if (is_streamed) native_finish_streams();
}

// The same over all rows, on several threads.
template <typename T, typename Body>
SIMD_INLINE void for_all_rows(Stream stream, int64_t rows, int64_t columns, const T* a, const T* b, T* out, Body body) {
  const bool is_streamed = out && out != a && out != b && columns <= max_streamed_columns &&
                           rows * columns * (int64_t)sizeof(T) >= streamed_bytes;
  parallel_for(
      stream, rows, grain_of(columns, 8192),
      [=](int64_t first, int64_t last) { for_rows(first, last, columns, a, b, out, body, is_streamed); },
      Vec<T>::width);
}

}  // namespace
}  // namespace MINIDL_TARGET
