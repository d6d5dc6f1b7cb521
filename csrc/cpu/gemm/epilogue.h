// What happens to a tile of sums on its way to out: earlier partial sums, bias, activation or an activation's gradient.
#pragma once
#include <math.h>

#include "activation_gradient.h"
#include "kernels.h"
#include "simd.h"
#include "simd_math.h"

namespace MINIDL_TARGET {
namespace {

// Where a tile of sums goes. The pointers stand at its first column, out and saved at its first row as well.
template <typename T>
struct TileOutput {
  T* out;
  int64_t stride;   // of out and saved, from row to row
  int64_t columns;  // valid ones; the others of the last vector are not written
  bool adds_to_out;
  const T* bias;   // or null
  const T* saved;  // or null; else what the activation gave: the sums are a gradient that goes back through it
  Activation activation;

  // Nothing but earlier sums, a bias and a lower bound, or relu's gradient: what the tile kernel does in registers.
  bool is_short() const { return activation <= Activation::relu; }
  // Not even these but for earlier sums.
  bool is_plain() const { return activation == Activation::none && !bias && !saved; }
  T lower_bound() const { return activation == Activation::relu && !saved ? T(0) : -T(INFINITY); }
};

// nan stays nan: max() yields its second operand then. Without a bias -0 is added, which keeps every number.
template <typename T>
SIMD_INLINE Vec<T> add_and_bound(Vec<T> sum, Vec<T> bias, Vec<T> lower_bound) {
  return max(lower_bound, sum + bias);
}
template <typename T>
SIMD_INLINE Vec<T> no_bias() {
  return Vec<T>(-T(0));
}

// What is left of the activation after the lower bound, which is all of relu.
template <typename T>
SIMD_INLINE Vec<T> finish_activation(Vec<T> x, Activation activation) {
  if (activation == Activation::sigmoid) return sigmoid(x);
  if (activation == Activation::tanh) return tanh(x);
  return x;
}

// out[:rows, :columns] from sums, which may stand in out already.
template <typename T>
__attribute__((noinline)) void finish_tile(const TileOutput<T>& to, const T* sums, int64_t sums_stride, int rows) {
  constexpr int width = Vec<T>::width;
  // Copies, so that the compiler need not read them again after every store.
  const Activation activation = to.activation;
  const bool adds_to_out = to.adds_to_out, is_bounded_only = !to.saved && activation <= Activation::relu;
  const int64_t stride = to.stride;
  Vec<T> lower_bound(to.lower_bound());
  for (int64_t column = 0; column < to.columns; column += width) {
    int count = to.columns - column < width ? (int)(to.columns - column) : width;
    auto load_some = [=](const T* from) { return count == width ? load(from) : load_partial(from, count); };
    Vec<T> bias = to.bias ? load_some(to.bias + column) : no_bias<T>();
    T* out = to.out + column;
    const T *sums_row = sums + column, *saved = to.saved ? to.saved + column : nullptr;
    for (int row = 0; row < rows; ++row, out += stride, sums_row += sums_stride) {
      Vec<T> sum = load_some(sums_row);
      if (adds_to_out) sum += load_some(out);
      sum = add_and_bound(sum, bias, lower_bound);
      if (!is_bounded_only)
        sum = saved ? activation_gradient(activation, load_some(saved + row * stride), sum)
                    : finish_activation(sum, activation);
      if (count == width)
        store(out, sum);
      else
        store_partial(out, sum, count);
    }
  }
}

}  // namespace
}  // namespace MINIDL_TARGET
