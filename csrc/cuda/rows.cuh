// Rows shared by groups of neighbouring threads: read in packs of 16 bytes where addresses allow, a short row once into
// registers, a long one in batches and as often as it is needed.
#pragma once
#include <math.h>

#include <type_traits>

#include "elementwise.cuh"
#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

// Lane l of a group of `lanes` threads reads the packs l, lanes + l, 2 * lanes + l, ... of a row, `packs` at a time;
// is_held: that is the whole row.
template <int lanes_, int width_, int packs_, bool is_held_>
struct RowShape {
  static constexpr int lanes = lanes_, width = width_, packs = packs_, stride = lanes * width;
  static constexpr bool is_held = is_held_;
  using Index = std::conditional_t<is_held, int, int64_t>;  // of a column
};

// 64 bytes of each input in flight per thread.
template <typename T, int lanes, int width>
using StreamedRow = RowShape<lanes, width, 64 / (int)sizeof(T) / width, false>;

// Sum of term(first) .. term(first + count - 1) as a tree.
template <int first, int count, typename Term>
__device__ auto sum_tree(const Term& term) {
  if constexpr (count == 1)
    return term(first);
  else
    return sum_tree<first, count / 2>(term) + sum_tree<first + count / 2, count - count / 2>(term);
}

// What one thread reads of a row at a time. Item k is lane k % width of pack k / width; the first `count` packs exist.
template <typename T, typename Index, int width_, int packs, int stride, int inputs>
struct Batch {
  static constexpr int width = width_, items = packs * width;
  Pack<T, width> x[inputs][packs];
  Index column;
  int count;

  // The packs at begin, begin + stride, ... below end.
  __device__ void read(const T* const (&rows)[inputs], Index begin, Index end) {
    column = begin;
    const Index wanted = end <= begin ? 0 : (end - begin + stride - 1) / stride;
    count = wanted < packs ? (int)wanted : packs;
#pragma unroll
    for (int input = 0; input < inputs; ++input)
#pragma unroll
      for (int v = 0; v < packs; ++v)
        x[input][v] =
            v < count ? *reinterpret_cast<const Pack<T, width>*>(rows[input] + column + v * stride) : Pack<T, width>{};
  }
  __device__ int valid_items() const { return count * width; }
  __device__ Index column_of(int item) const { return column + item / width * stride + item % width; }
  __device__ T item(int k, int input = 0) const { return x[input][k / width].at[k % width]; }
  // function(column, first input, second input, ...) of item k
  template <typename Function>
  __device__ T apply(int k, const Function& function) const {
    if constexpr (inputs == 1)
      return function(column_of(k), item(k));
    else if constexpr (inputs == 2)
      return function(column_of(k), item(k), item(k, 1));
    else
      return function(column_of(k), item(k), item(k, 1), item(k, 2));
  }
  template <typename Value>
  __device__ T sum(const Value& value) const {
    return sum_tree<0, items>([&](int k) { return k / width < count ? apply(k, value) : T(0); });
  }
  template <typename Value>
  __device__ void write(T* out, const Value& value) const {
#pragma unroll
    for (int v = 0; v < packs; ++v) {
      if (v >= count) continue;
      Pack<T, width> result;
#pragma unroll
      for (int j = 0; j < width; ++j) result.at[j] = apply(v * width + j, value);
      *reinterpret_cast<Pack<T, width>*>(out + column + v * stride) = result;
    }
  }
};

// A row of one or several arrays, seen by one thread of the group that shares it. All threads of the warp (of the
// block, for a group of more than 32) go through sum() and the like together; those without a row have columns = 0.
template <typename T, typename Shape, int inputs = 1>
struct Row {
  static constexpr int lanes = Shape::lanes;
  static constexpr bool is_held = Shape::is_held;
  using Index = typename Shape::Index;
  using Piece = Batch<T, Index, Shape::width, Shape::packs, Shape::stride, inputs>;
  const T* x[inputs];
  int64_t offset;
  Index columns;
  int lane;
  Piece held;

  // The columns from offset on of each array.
  __device__ Row(const T* const (&arrays)[inputs], int64_t offset, int64_t columns)
      : offset(offset), columns((Index)columns), lane(threadIdx.x % lanes) {
#pragma unroll
    for (int input = 0; input < inputs; ++input) x[input] = arrays[input] + offset;
    if constexpr (is_held) held.read(x, lane * Shape::width, this->columns);
  }

  // body(batch) for each part of the row that belongs to this thread. Only a streamed row may end within a pack.
  template <typename Body>
  __device__ void each(const Body& body) const {
    if constexpr (is_held) {
      body(held);
    } else {
      const int64_t whole = columns / Shape::width * Shape::width;
      for (int64_t column = lane * Shape::width; column < whole; column += Shape::packs * Shape::stride) {
        Piece piece;
        piece.read(x, column, whole);
        body(piece);
      }
      if constexpr (Shape::width > 1)
        if (whole + lane < columns) {
          Batch<T, Index, 1, 1, 1, inputs> rest;
          rest.read(x, whole + lane, whole + lane + 1);
          body(rest);
        }
    }
  }

  // Sum of value(column, x...) over the row. Within a thread, batches are trees, 32 of them are added in turn, and then
  // these sums: the rounding error does not grow with the length of the row.
  template <typename Value>
  __device__ T sum(const Value& value) const {
    T total = 0, part = 0;
    int batches = 0;
    each([&](const auto& batch) {
      part += batch.sum(value);
      if (++batches % 32 == 0) {
        total += part;
        part = 0;
      }
    });
    return group_reduce<lanes>(total + part, Sum{});
  }

  // out[offset + column] = value(column, x...)
  template <typename Value>
  __device__ void write(T* out, const Value& value) const {
    each([&](const auto& batch) { batch.write(out + offset, value); });
  }
};

// launcher(shape) with the RowShape for rows of so many columns: held by 4 to 32 threads or by a block of 256 up to
// 8192 columns, streamed by a block of 512 beyond. 32 items a thread fill its registers without spilling. is_aligned:
// all arrays are, and packs may be used where they divide the rows.
constexpr int64_t max_held_columns = 8192;
constexpr int streaming_threads = 512;

constexpr int max_short_columns = 16;
template <int width>
using ShortRow = RowShape<4, width, 4 / width, true>;

template <typename T, int width, typename Launcher>
void with_row_shape_of_width(int64_t columns, const Launcher& launcher) {
  if (columns <= max_short_columns)
    launcher(ShortRow<width>{});
  else if (columns <= 64)
    launcher(RowShape<8, width, 8 / width, true>{});
  else if (columns <= 256)
    launcher(RowShape<32, width, 8 / width, true>{});
  else if (columns <= 1024)
    launcher(RowShape<32, width, 32 / width, true>{});
  else if (columns <= max_held_columns)
    launcher(RowShape<256, width, 32 / width, true>{});
  else
    launcher(StreamedRow<T, streaming_threads, width>{});
}
template <typename T>
bool has_packs(int64_t columns, bool is_aligned) {
  return is_aligned && columns % pack_width<T> == 0;
}
template <typename T, typename Launcher>
void with_row_shape(int64_t columns, bool is_aligned, const Launcher& launcher) {
  if (has_packs<T>(columns, is_aligned))
    with_row_shape_of_width<T, pack_width<T>>(columns, launcher);
  else
    with_row_shape_of_width<T, 1>(columns, launcher);
}
// The same of at most max_short_columns.
template <typename T, typename Launcher>
void with_short_row_shape(int64_t columns, bool is_aligned, const Launcher& launcher) {
  if (has_packs<T>(columns, is_aligned))
    launcher(ShortRow<pack_width<T>>{});
  else
    launcher(ShortRow<1>{});
}

}  // namespace
}  // namespace MINIDL_TARGET
