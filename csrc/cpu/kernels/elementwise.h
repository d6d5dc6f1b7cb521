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
    constexpr int64_t ahead = sizeof...(inputs) == 1 ? ahead_of_one : ahead_of_several;
    for_streamed_vectors<ahead>(out, begin, end, [=](auto at) { at.store(out, f(at(inputs)...)); });
    native_finish_streams();
  });
}

// out[i] = f(inputs[i]...). Every element goes through the same vector code, also at the edge, so that results do not
// depend on where a chunk ends.
template <typename T, typename F, typename... Inputs>
SIMD_INLINE void map(Stream stream, int64_t size, int64_t grain, T* out, F f, Inputs... inputs) {
  // In place the line is there; and where nothing else is read, 2 threads write 48 MiB past the caches in 1.85 ms, and
  // through them in 1.0 to 1.25.
  const bool is_read_elsewhere = sizeof...(inputs) > 0 && !((inputs == out) || ...);
  if (size * (int64_t)sizeof(T) >= streamed_bytes && is_read_elsewhere)
    return map_streamed(stream, size, grain, out, f, inputs...);
  parallel_for(stream, size, grain_at_present(stream, size, grain), [=](int64_t begin, int64_t end) {
    constexpr int width = Vec<T>::width;
    // Four loads before their stores: where out begins just behind x modulo 4 KiB, every load would seem to depend on
    // the store before it and wait for it (exp of 32768 floats on Zen 4, one thread: 6.1 us, there 10.4).
    auto loaded = [=]([[maybe_unused]] auto at) { return [f, ... v = at(inputs)]() ALWAYS_INLINE { return f(v...); }; };
    int64_t i = begin;
    for (; i + 4 * width <= end; i += 4 * width) {
      const Whole<T> a{i, 0}, b{i + width, 0}, c{i + 2 * width, 0}, d{i + 3 * width, 0};
      auto at_a = loaded(a), at_b = loaded(b), at_c = loaded(c), at_d = loaded(d);
      a.store(out, at_a());
      b.store(out, at_b());
      c.store(out, at_c());
      d.store(out, at_d());
    }
    for_vectors<T>(i, end, [=](auto at) { at.store(out, f(at(inputs)...)); });
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
    int64_t row = begin / columns, column = begin % columns, rest = row;
    int64_t place[max_dims] = {}, first[operands] = {};
    for (int d = last - 1; d >= 0; rest /= layout.shape[d--]) {
      place[d] = rest % layout.shape[d];
      for (int k = 0; k < operands; ++k) first[k] += place[d] * layout.strides[k][d];
    }
    while (begin < end) {
      const int64_t column_end = end - begin < columns - column ? column + (end - begin) : columns;
      body(row * columns, column, column_end, first);
      begin += column_end - column;
      column = 0;
      ++row;
      // Counted on, not divided out: the divisions of a row would cost more than 256 sums.
      for (int d = last - 1; d >= 0; --d) {
        const bool goes_on = ++place[d] < layout.shape[d];
        const int64_t steps = goes_on ? 1 : 1 - layout.shape[d];
        for (int k = 0; k < operands; ++k) first[k] += steps * layout.strides[k][d];
        if (goes_on) break;
        place[d] = 0;
      }
    }
    native_finish_streams();  // of a body that streams
  });
}

// One operand of a row: its elements lie side by side, or are one and the same, or are picked one by one.
enum class Step { contiguous, constant, strided };

inline Step step_of(int64_t stride) {
  return stride == 1 ? Step::contiguous : stride == 0 ? Step::constant : Step::strided;
}

template <Step step, typename T, typename Place>
SIMD_INLINE Vec<T> load_step(const T* from, Place at, int64_t stride = 0) {
  if constexpr (step == Step::contiguous) return at(from);
  if constexpr (step == Step::constant) return Vec<T>(*from);
  Vec<T> v{};
  for (int lane = 0; lane < at.count; ++lane) v.lanes[lane] = from[(at.index + lane) * stride];
  return v;
}

template <Step step_a, Step step_b, bool is_streamed, typename T, typename F>
SIMD_INLINE void map_row(const T* a, const T* b, T* out, int64_t stride_a, int64_t stride_b, int64_t begin, int64_t end,
                         F f) {
  auto body = [=](auto at) {
    at.store(out, f(load_step<step_a>(a, at, stride_a), load_step<step_b>(b, at, stride_b)));
  };
  for_vectors(is_streamed, out, begin, end, body);
}

template <Step step_a, Step step_b, bool is_streamed, typename T, typename F>
SIMD_INLINE void map_rows(Stream stream, int64_t grain, const Strided<2>& layout, const T* a, const T* b, T* out, F f) {
  const int64_t stride_a = layout.dims == 0 ? 0 : layout.strides[0][layout.dims - 1];
  const int64_t stride_b = layout.dims == 0 ? 0 : layout.strides[1][layout.dims - 1];
  for_rows(stream, grain, layout, [=](int64_t row, int64_t begin, int64_t end, const int64_t (&first)[2]) {
    map_row<step_a, step_b, is_streamed>(a + first[0], b + first[1], out + row, stride_a, stride_b, begin, end, f);
  });
}

template <Step step_a, Step step_b, typename T, typename F>
__attribute__((noinline)) void map_rows(Stream stream, int64_t grain, const Strided<2>& layout, const T* a, const T* b,
                                        T* out, F f) {
  int64_t size = 1;
  for (int d = 0; d < layout.dims; ++d) size *= layout.shape[d];
  if (size * (int64_t)sizeof(T) >= streamed_bytes && a != out && b != out && step_a != Step::strided)
    map_rows<step_a, step_b, true>(stream, grain, layout, a, b, out, f);
  else
    map_rows<step_a, step_b, false>(stream, grain, layout, a, b, out, f);
}

template <typename T, typename F>
SIMD_INLINE void map_broadcast(Stream stream, int64_t grain, const Strided<2>& layout, const T* a, const T* b, T* out,
                               F f) {
  constexpr Step contiguous = Step::contiguous, constant = Step::constant, strided = Step::strided;
  const int last = layout.dims - 1;
  const Step step_a = step_of(last < 0 ? 0 : layout.strides[0][last]);
  const Step step_b = step_of(last < 0 ? 0 : layout.strides[1][last]);
  if (step_a == contiguous && step_b == contiguous) {
    if (layout.dims == 1) return map(stream, layout.shape[0], grain, out, f, a, b);
    return map_rows<contiguous, contiguous>(stream, grain, layout, a, b, out, f);
  }
  if (step_a == contiguous && step_b == constant)
    return map_rows<contiguous, constant>(stream, grain, layout, a, b, out, f);
  if (step_a == constant && step_b == contiguous)
    return map_rows<constant, contiguous>(stream, grain, layout, a, b, out, f);
  map_rows<strided, strided>(stream, grain, layout, a, b, out, f);
}

}  // namespace
}  // namespace MINIDL_TARGET
