// What is multiplied: out (m x n) = activation(a b + bias (+ out)), or that times the activation's derivative; a and b
// in either layout.
#pragma once
#include <stdint.h>

#include "gemm/epilogue.h"
#include "kernels.h"

namespace MINIDL_TARGET {
namespace {

constexpr int64_t page_bytes = 4096;

// Lines of so many elements begin at the same place of a page: they lie in few sets of the caches.
template <typename T>
bool are_whole_pages(int64_t elements) {
  return elements * (int64_t)sizeof(T) % page_bytes == 0;
}

// Whether rows may begin in the middle of cache lines: some of one then lies in a line more than it is long.
template <typename T>
bool begins_within_lines(const T* rows, int64_t stride) {
  return ((uintptr_t)rows | (uintptr_t)(stride * (int64_t)sizeof(T))) % 64 != 0;
}

// One factor as lines along k: the rows of a, the columns of b.
template <typename T>
struct Factor {
  const T* data;
  bool has_contiguous_lines;  // else the lines lie side by side, one step of k after the other
  int64_t stride;             // from line to line if these are contiguous, else from step to step

  // A single line is contiguous and single steps lie side by side, however the matrix was passed.
  Factor(const T* data, int64_t lines, int64_t steps, bool contiguous)
      : data(data),
        has_contiguous_lines(steps > 1 && (contiguous || lines == 1)),
        stride(has_contiguous_lines ? steps : lines) {}

  const T* at(int64_t line, int64_t step) const {
    return data + (has_contiguous_lines ? line * stride + step : step * stride + line);
  }
};

// Which share of out a thread uses again that has computed it: to fetch a line that another core has written takes
// long. In a step of training, each keeps to its features of a layer: columns of what the layer gives and of the
// gradient that goes back through it, rows of the weight, of its gradient and, as the optimizer shares segments, of
// their state.
enum class Kept { nothing, rows, columns };

template <typename T>
struct Product {
  int64_t m, n, k;
  Factor<T> a, b;
  T* out;
  bool accumulate = false;
  const T* bias = nullptr;  // n values, or null
  Activation activation = Activation::none;
  const T* saved = nullptr;  // like out, or null; else out is a gradient that goes back through the activation
  Kept kept = Kept::nothing;

  TileOutput<T> output_at(int64_t row, int64_t column, int64_t columns) const {
    int64_t place = row * n + column;
    return {out + place, n, columns, accumulate, bias ? bias + column : nullptr, saved ? saved + place : nullptr,
            activation};
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
