// What happens to the sums of a product on their way to out: accumulation, bias, activation or an activation's
// gradient.
#pragma once
#include "product.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
__device__ T activate(Activation activation, T x) {
  if (activation == Activation::relu) return x < 0 ? T(0) : x;  // nan stays nan
  if (activation == Activation::sigmoid) return T(1) / (T(1) + exp(-x));
  if (activation == Activation::tanh) return tanh(x);
  return x;
}

// grad times the derivative where the activation gave `out`; a nan out stops relu's gradient.
template <typename T>
__device__ T activation_gradient(Activation activation, T out, T grad) {
  if (activation == Activation::relu) return out > 0 ? grad : T(0);
  if (activation == Activation::sigmoid) return grad * out * (T(1) - out);
  if (activation == Activation::tanh) return grad * (T(1) - out * out);
  return grad;
}

// Writes sums to one matrix of out.
template <typename T>
struct Epilogue {
  int64_t m, n;
  T* out;
  const T *bias, *saved;
  Activation activation;
  bool accumulate, is_vectorized;

  __device__ Epilogue(const Product<T>& p, bool is_vectorized, int64_t batch)
      : m(p.m),
        n(p.n),
        out(p.out + batch * p.m * p.n),
        bias(p.bias),
        saved(p.saved),
        activation(p.activation),
        accumulate(p.accumulate),
        is_vectorized(is_vectorized) {}

  __device__ T finish(T sum, T before, T bias_here, T saved_here) const {
    if (accumulate) sum += before;
    if (bias) sum += bias_here;
    return saved ? activation_gradient(activation, saved_here, sum) : activate(activation, sum);
  }

  // As many columns as a vector has, from `column` on; what lies outside of out is dropped.
  __device__ void store(int64_t row, int64_t column, const Vector<T>& sums) const {
    if (row >= m || column >= n) return;
    int64_t at = row * n + column;
    int columns = n - column < vector_size<T> ? (int)(n - column) : vector_size<T>;
    Vector<T> before = {}, bias_here = {}, saved_here = {}, result;
    if (accumulate) before = load(out + at, columns);
    if (bias) bias_here = load(bias + column, columns);
    if (saved) saved_here = load(saved + at, columns);
#pragma unroll
    for (int e = 0; e < vector_size<T>; ++e)
      result.values[e] = finish(sums.values[e], before.values[e], bias_here.values[e], saved_here.values[e]);
    if (is_vectorized) {
      *(Vector<T>*)(out + at) = result;
    } else {
#pragma unroll
      for (int e = 0; e < vector_size<T>; ++e)
        if (e < columns) out[at + e] = result.values[e];
    }
  }

 private:
  __device__ Vector<T> load(const T* from, int columns) const {
    if (is_vectorized) return *(const Vector<T>*)from;
    Vector<T> result = {};
#pragma unroll
    for (int e = 0; e < vector_size<T>; ++e)
      if (e < columns) result.values[e] = from[e];
    return result;
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
