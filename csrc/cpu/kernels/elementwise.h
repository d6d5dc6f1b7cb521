// Maps over contiguous arrays and over broadcast operands, one vector at a time.
#pragma once
#include "kernels.h"
#include "parallel.h"
#include "simd.h"
#include "traversal.h"

namespace MINIDL_TARGET {
namespace {

// Elements that are worth a thread: about 5 us of work for memory-bound loops and for polynomials.
constexpr int64_t cheap_grain = 32768;
constexpr int64_t function_grain = 4096;

// For the functions given to map(): GCC leaves long ones out of line, and then reads their constants for every vector.
#define ALWAYS_INLINE __attribute__((always_inline))

// map() for an output that is larger than the caches. On its own: beside it, the loop below would share its registers.
template <typename T, typename F, typename... Inputs>
__attribute__((noinline)) void map_streamed(Stream stream, int64_t size, int64_t grain, T* out, F f, Inputs... inputs) {
  parallel_for(stream, size, grain, [=](int64_t begin, int64_t end) {
    for_streamed_vectors(out, begin, end, [=](auto at) { at.store(out, f(at(inputs)...)); });
  });
}

// out[i] = f(inputs[i]...). Every element goes through the same vector code, also at the edge, so that results do not
// depend on where a chunk ends.
template <typename T, typename F, typename... Inputs>
SIMD_INLINE void map(Stream stream, int64_t size, int64_t grain, T* out, F f, Inputs... inputs) {
  const bool is_in_place = ((inputs == out) || ...);
  if (size * (int64_t)sizeof(T) >= streamed_bytes && !is_in_place)
    return map_streamed(stream, size, grain, out, f, inputs...);
  parallel_for(stream, size, grain, [=](int64_t begin, int64_t end) {
    for_vectors<T>(begin, end, [=](auto at) { at.store(out, f(at(inputs)...)); });
  });
}

// body(row, begin, end, first): the elements [begin, end) of one row of the layout's last dimension, where row is the
// place of the row's first element in out and first[k] that in operand k. A chunk may begin and end within a row.
template <int operands, typename Body>
SIMD_INLINE void for_rows(Stream stream, int64_t grain, const Strided<operands>& layout, Body body) {
  int last = layout.dims - 1;
  int64_t columns = layout.dims == 0 ? 1 : layout.shape[last];
  int64_t rows = 1;
  for (int d = 0; d < last; ++d) rows *= layout.shape[d];
  if (rows == 0 || columns == 0) return;
  parallel_for(stream, rows * columns, grain, [=](int64_t begin, int64_t end) {
    while (begin < end) {
      int64_t row = begin / columns, column = begin % columns;
      int64_t column_end = column + (end - begin) < columns ? column + (end - begin) : columns;
      int64_t first[operands] = {};
      int64_t rest = row;
      for (int d = last - 1; d >= 0; --d) {
        int64_t place = rest % layout.shape[d];
        rest /= layout.shape[d];
        for (int k = 0; k < operands; ++k) first[k] += place * layout.strides[k][d];
      }
      body(row * columns, column, column_end, first);
      begin += column_end - column;
    }
  });
}

// One operand of a row: its elements lie side by side, or are one and the same, or are picked one by one.
enum class Step { contiguous, constant, strided };

inline Step step_of(int64_t stride) {
  return stride == 1 ? Step::contiguous : stride == 0 ? Step::constant : Step::strided;
}

template <Step step, typename T>
SIMD_INLINE Vec<T> load_step(const T* from, int64_t i, int64_t stride, int count) {
  if constexpr (step == Step::contiguous)
    return count == Vec<T>::width ? load(from + i) : load_partial(from + i, count);
  if constexpr (step == Step::constant) return Vec<T>(*from);
  Vec<T> v{};
  for (int lane = 0; lane < count; ++lane) v.lanes[lane] = from[(i + lane) * stride];
  return v;
}

template <Step step_a, Step step_b, typename T, typename F>
SIMD_INLINE void map_row(const T* a, const T* b, T* out, int64_t stride_a, int64_t stride_b, int64_t begin, int64_t end,
                         F f) {
  constexpr int width = Vec<T>::width;
  int64_t i = begin;
  for (; i + width <= end; i += width)
    store(out + i, f(load_step<step_a>(a, i, stride_a, width), load_step<step_b>(b, i, stride_b, width)));
  int rest = (int)(end - i);
  if (rest > 0)
    store_partial(out + i, f(load_step<step_a>(a, i, stride_a, rest), load_step<step_b>(b, i, stride_b, rest)), rest);
}

template <typename T, typename F>
SIMD_INLINE void map_broadcast(Stream stream, int64_t grain, const Strided<2>& layout, const T* a, const T* b, T* out,
                               F f) {
  int64_t stride_a = layout.dims == 0 ? 0 : layout.strides[0][layout.dims - 1];
  int64_t stride_b = layout.dims == 0 ? 0 : layout.strides[1][layout.dims - 1];
  Step a_step = step_of(stride_a), b_step = step_of(stride_b);
  if (layout.dims == 1 && a_step == Step::contiguous && b_step == Step::contiguous)
    return map(stream, layout.shape[0], grain, out, f, a, b);
  for_rows(stream, grain, layout, [=](int64_t row, int64_t begin, int64_t end, const int64_t (&first)[2]) {
    const T *x = a + first[0], *y = b + first[1];
    T* to = out + row;
    if (a_step == Step::contiguous && b_step == Step::contiguous)
      map_row<Step::contiguous, Step::contiguous>(x, y, to, 1, 1, begin, end, f);
    else if (a_step == Step::contiguous && b_step == Step::constant)
      map_row<Step::contiguous, Step::constant>(x, y, to, 1, 0, begin, end, f);
    else if (a_step == Step::constant && b_step == Step::contiguous)
      map_row<Step::constant, Step::contiguous>(x, y, to, 0, 1, begin, end, f);
    else
      map_row<Step::strided, Step::strided>(x, y, to, stride_a, stride_b, begin, end, f);
  });
}

}  // namespace
}  // namespace MINIDL_TARGET
