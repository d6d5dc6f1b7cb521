// The activations of a linear layer's epilogue, and their gradients from what they gave.
#pragma once
#include <cuda_runtime.h>
#include <math.h>

#include "kernels.h"

namespace MINIDL_TARGET {
namespace {

// 1 / (1 + e^-x), without overflow, relative to itself also in the left tail.
template <typename T>
__device__ T sigmoid(T x) {
  const T tail = ::exp(-fabs(x));
  return (x < T(0) ? tail : T(1)) / (T(1) + tail);
}

template <typename T>
__device__ T activate(Activation activation, T x) {
  if (activation == Activation::relu) return x < T(0) ? T(0) : x;  // nan stays nan
  if (activation == Activation::sigmoid) return sigmoid(x);
  if (activation == Activation::tanh) return ::tanh(x);
  return x;
}

// grad times the derivative where the activation gave `out`; a nan out stops relu's gradient.
template <typename T>
__device__ T activation_gradient(Activation activation, T out, T grad) {
  if (activation == Activation::relu) return out > T(0) ? grad : T(0);
  if (activation == Activation::sigmoid) return grad * out * (T(1) - out);
  if (activation == Activation::tanh) return grad * (T(1) - out * out);
  return grad;
}

}  // namespace
}  // namespace MINIDL_TARGET
