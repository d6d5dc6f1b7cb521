// What happens to a tile of sums on its way to out: earlier partial sums, bias, activation.
#pragma once
#include <math.h>

#include "kernels.h"
#include "simd.h"
#include "simd_math.h"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct Epilogue {
  Activation activation;
  bool adds_to_out;  // out holds earlier partial sums

  // Nothing but a bias and a lower bound: what the tile kernel does in registers.
  bool is_short() const { return !adds_to_out && activation <= Activation::relu; }
  T lower_bound() const { return activation == Activation::relu ? T(0) : -T(INFINITY); }
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

// out[:rows, :columns] from sums; bias (or null) and out begin at the tile's first column.
template <typename T>
__attribute__((noinline)) void finish_tile(const Epilogue<T>& epilogue, const T* sums, int64_t sums_stride,
                                           const T* bias, T* out, int64_t out_stride, int rows, int columns) {
  constexpr int width = Vec<T>::width;
  Vec<T> lower_bound(epilogue.lower_bound());
  for (int column = 0; column < columns; column += width) {
    int count = columns - column < width ? columns - column : width;
    bool is_full = count == width;
    Vec<T> added = no_bias<T>();
    if (bias) added = is_full ? load(bias + column) : load_partial(bias + column, count);
    for (int row = 0; row < rows; ++row) {
      T* target = out + row * out_stride + column;
      Vec<T> sum = load(sums + row * sums_stride + column);
      if (epilogue.adds_to_out) sum += is_full ? load(target) : load_partial(target, count);
      sum = finish_activation(add_and_bound(sum, added, lower_bound), epilogue.activation);
      if (is_full)
        store(target, sum);
      else
        store_partial(target, sum, count);
    }
  }
}

}  // namespace
}  // namespace MINIDL_TARGET
