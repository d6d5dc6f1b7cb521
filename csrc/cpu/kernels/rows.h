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
  // Of numbers; four at a time, which hides the latency.
  template <typename Value>
  SIMD_INLINE Vec<T> largest(const Value& value) const {
    constexpr int width = Vec<T>::width, count = 4;
    Vec<T> result[count];
    for (Vec<T>& some : result) some = Vec<T>(-(T)__builtin_inff());
    int64_t i = 0;
    for (; i + count * width <= columns; i += count * width)
      for (int k = 0; k < count; ++k) result[k] = max(result[k], value(Whole<T>{i + k * width, 0}));
    for_vectors<T>(i, columns, [&](auto at) {
      result[0] = max(result[0], select(first_lanes<T>(at.count), value(at), result[0]));
    });
    return Vec<T>(max_lanes(max(max(result[0], result[1]), max(result[2], result[3]))));
  }
  SIMD_INLINE Vec<T> load(const T* per_row) const { return Vec<T>(per_row[0]); }
  SIMD_INLINE void store(T* per_row, Vec<T> v) const { per_row[0] = v[0]; }
  SIMD_INLINE T sum_of_rows(Vec<T> per_row) const { return per_row[0]; }
  template <typename Place>
  SIMD_INLINE Vec<T> of_column(const T* per_column, Place at) const {
    return cached(at)(per_column);
  }

  // ---- one column of each row, which per_row names; -1 if there is none

  using Columns = int64_t;
  SIMD_INLINE Columns columns_from(const int64_t* per_row) const {
    const int64_t column = per_row[row];
    return column >= 0 && column < columns ? column : -1;
  }
  SIMD_INLINE Mask<T> are_columns(Columns column) const { return all_lanes(column >= 0); }
  SIMD_INLINE Mask<T> are_equal(const int64_t* per_row, int64_t value) const {
    return all_lanes(per_row[row] == value);
  }
  // Which lane of a place it is.
  template <typename Place>
  SIMD_INLINE Mask<T> is_there(Columns column, Place at) const {
    const int64_t lane = column - at.index;
    const bool is_inside = lane >= 0 && lane < Vec<T>::width;
    return {(iota<I>() == Vec<I>((I)(is_inside ? lane : -1))).lanes};
  }
  template <typename Value>
  SIMD_INLINE Vec<T> pick(Columns column, const Value& value) const {
    return column < 0 ? Vec<T>{} : Vec<T>(value(Edge<T>{column, 0, 0, 1})[0]);
  }

 private:
  using I = IntegerLike<T>;
  static SIMD_INLINE Mask<T> all_lanes(bool value) { return {Vec<I>((I)-value).lanes}; }
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
  // per_row is 0 in lanes without a row
  SIMD_INLINE T sum_of_rows(Vec<T> per_row) const { return sum_lanes(per_row); }
  template <typename Place>
  SIMD_INLINE Vec<T> of_column(const T* per_column, Place at) const {
    return Vec<T>(per_column[at.index / width]);
  }

  // ---- one column of each row, which per_row names; -1 if there is none, or no row

  using Columns = Vec<IntegerLike<T>>;
  SIMD_INLINE Columns columns_from(const int64_t* per_row) const {
    const Vec<int64_t> first(0), end(columns), none(-1);
    return lanes_from(per_row, -1, [=](Vec<int64_t> v) { return select((v >= first) & (v < end), v, none); });
  }
  SIMD_INLINE Mask<T> are_columns(Columns column) const { return {(column >= Columns(0)).lanes}; }
  // Whether per_row is value; so it is in lanes without a row.
  SIMD_INLINE Mask<T> are_equal(const int64_t* per_row, int64_t value) const {
    return {lanes_from(per_row, value, [=](Vec<int64_t> v) {
              return Vec<int64_t>((v == Vec<int64_t>(value)).lanes);
            }).lanes};
  }
  // Which lanes have a place in their columns.
  template <typename Place>
  SIMD_INLINE Mask<T> is_there(Columns column, Place at) const {
    return {(column == Columns((IntegerLike<T>)(at.index / width))).lanes};
  }
  // value(place) in these columns, 0 where there is none
  template <typename Value>
  SIMD_INLINE Vec<T> pick(Columns column, const Value& value) const {
    Vec<T> result{};
    each([&](auto at) { result = select(is_there(column, at), value(at), result); });
    return result;
  }

  struct alignas(64) Buffer {
    T lanes[max_columns * width];
  };
  // The rows of x, transposed; lanes without a row are 0. Whole registers run on into the next row: what they bring
  // along is not kept.
  SIMD_INLINE const T* gather(const T* x, Buffer& buffer) const {
    if (!x) return nullptr;
    for (int64_t c = 0; c < columns; c += width) {
      const int count = (int)(columns - c < width ? columns - c : width), whole = whole_registers(c);
      const T* from = x + row * columns + c;
      Vec<T> square[width];
#pragma GCC unroll 16
      for (int r = 0; r < width; ++r, from += columns) {
        square[r] = Vec<T>{};
        if (r < whole)
          square[r] = MINIDL_TARGET::load(from);
        else if (r < rows)
          square[r] = load_partial(from, count);
      }
      transpose_registers(square);
#pragma GCC unroll 16
      for (int k = 0; k < width; ++k) MINIDL_TARGET::store(buffer.lanes + (c + k) * width, square[k]);
    }
    return buffer.lanes;
  }
  // Whole registers run on into the next row, which is written later: by the next step, or to the left of it. first is
  // where the first row begins.
  SIMD_INLINE void scatter(const Buffer& buffer, T* first) const {
    for (int64_t c = (columns - 1) / width * width; c >= 0; c -= width) {
      const int count = (int)(columns - c < width ? columns - c : width), whole = whole_registers(c);
      Vec<T> square[width];
#pragma GCC unroll 16
      for (int k = 0; k < width; ++k) square[k] = MINIDL_TARGET::load(buffer.lanes + (c + k) * width);
      transpose_registers(square);
      T* to = first + c;
#pragma GCC unroll 16
      for (int r = 0; r < width; ++r, to += columns)
        if (r < whole)
          MINIDL_TARGET::store(to, square[r]);
        else if (r < rows)
          store_partial(to, square[r], count);
    }
  }
  // The same past the caches.
  SIMD_INLINE void scatter_past_caches(const Buffer& buffer, T* out) const {
    Buffer in_order;
    scatter(buffer, in_order.lanes);
    stream_copy(in_order.lanes, out, row * columns, (row + rows) * columns);
  }

 private:
  // Of how many rows a whole register from this column on lies within the rows.
  SIMD_INLINE int whole_registers(int64_t column) const {
    const int64_t room = rows * columns - column - width;
    return room < 0 ? 0 : (int)(room / columns) + 1;
  }

  // of(what per_row holds), none in lanes without a row, as integers of T's size.
  template <typename Of>
  SIMD_INLINE Columns lanes_from(const int64_t* per_row, int64_t none, Of of) const {
    int64_t padded[width];
    const int64_t* from = per_row + row;
    if (rows < width) {
      for (int r = 0; r < width; ++r) padded[r] = r < rows ? from[r] : none;
      from = padded;
    }
    if constexpr (sizeof(T) == sizeof(int64_t))
      return of(MINIDL_TARGET::load(from));
    else
      return lower_halves(of(MINIDL_TARGET::load(from)), of(MINIDL_TARGET::load(from + width / 2)));
  }
};

template <typename T, typename Body>
SIMD_INLINE void for_short_rows(int64_t first, int64_t last, int64_t columns, const T* a, const T* b, T* out, Body body,
                                bool is_streamed = false) {
  constexpr int width = Vec<T>::width;
  typename ShortRows<T>::Buffer a_lanes, b_lanes, out_lanes;
  // A body writes these columns only; what is transposed are whole squares.
  for (int64_t c = columns; c % width != 0; ++c) store(out_lanes.lanes + c * width, Vec<T>{});
  for (int64_t row = first; row < last; row += width) {
    ShortRows<T> rows{row, columns, (int)(last - row < width ? last - row : width)};
    body(rows, rows.gather(a, a_lanes), rows.gather(b, b_lanes), out ? out_lanes.lanes : out);
    if (is_streamed)
      rows.scatter_past_caches(out_lanes, out);
    else if (out)
      rows.scatter(out_lanes, out + row * columns);
  }
}

// Whether rows are written past the caches. What a body keeps in its out stays in the first-level cache then; only what
// it finishes with is streamed to memory.
constexpr int64_t max_streamed_columns = 2048;
template <typename T>
bool are_streamed(int64_t rows, int64_t columns, const T* a, const T* b, const T* out) {
  return out && out != a && out != b && columns <= max_streamed_columns &&
         rows * columns * (int64_t)sizeof(T) >= streamed_bytes;
}

// body(rows, a, b, out) for the rows [first, last); a, b and out are this layout's arrays, null where those given are.
// A streamed body must write its result by finish(), and native_finish_streams() has to follow the last call.
template <typename T, typename Body>
SIMD_INLINE void for_rows(int64_t first, int64_t last, int64_t columns, const T* a, const T* b, T* out, Body body,
                          bool is_streamed = false) {
  if (columns <= ShortRows<T>::max_columns) return for_short_rows(first, last, columns, a, b, out, body, is_streamed);
  alignas(64) T buffer[max_streamed_columns];
  for (int64_t row = first; row < last; ++row) {
    const int64_t begin = row * columns;
    T* result = out ? out + begin : out;
    body(LongRow<T>{row, columns, is_streamed ? result : nullptr}, a + begin, b ? b + begin : b,
         is_streamed ? buffer : result);
  }
}

// The same over all rows, on several threads.
template <typename T, typename Body>
SIMD_INLINE void for_all_rows(Stream stream, int64_t rows, int64_t columns, const T* a, const T* b, T* out, Body body) {
  const bool is_streamed = are_streamed(rows, columns, a, b, out);
  parallel_for(
      stream, rows, grain_of(columns, 8192),
      [=](int64_t first, int64_t last) {
        for_rows(first, last, columns, a, b, out, body, is_streamed);
        native_finish_streams();
      },
      Vec<T>::width);
}

}  // namespace
}  // namespace MINIDL_TARGET
