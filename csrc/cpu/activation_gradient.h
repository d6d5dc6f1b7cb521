// The gradients of the activations that save their output: of a kernel each, and of a product's epilogue.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// Each is grad times the derivative where the activation gave `out`; a nan out stops relu's gradient.
template <typename T>
SIMD_INLINE Vec<T> relu_gradient(Vec<T> out, Vec<T> grad) {
  return select(out > Vec<T>{}, grad, Vec<T>{});
}
template <typename T>
SIMD_INLINE Vec<T> sigmoid_gradient(Vec<T> out, Vec<T> grad) {
  return grad * out * (Vec<T>(T(1)) - out);
}
template <typename T>
SIMD_INLINE Vec<T> tanh_gradient(Vec<T> out, Vec<T> grad) {
  return grad * (Vec<T>(T(1)) - out * out);
}

template <typename T>
SIMD_INLINE Vec<T> activation_gradient(Activation activation, Vec<T> out, Vec<T> grad) {
  if (activation == Activation::relu) return relu_gradient(out, grad);
  if (activation == Activation::sigmoid) return sigmoid_gradient(out, grad);
  if (activation == Activation::tanh) return tanh_gradient(out, grad);
  return grad;
}

}  // namespace
}  // namespace MINIDL_TARGET
