// What happens to the sums of a product on their way to out: accumulation, bias, activation or an activation's
// gradient.
#pragma once
#include "activation.cuh"
#include "product.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
__device__ Vector<T> load_vector(const T* from, int count, bool is_vectorized) {
  if (is_vectorized) return *(const Vector<T>*)from;
  Vector<T> result = {};
#pragma unroll
  for (int e = 0; e < vector_size<T>; ++e)
    if (e < count) result.values[e] = from[e];
  return result;
}

template <typename T>
__device__ void store_vector(T* to, const Vector<T>& vector, int count, bool is_vectorized) {
  if (is_vectorized) {
    store_whole(to, vector);
  } else {
#pragma unroll
    for (int e = 0; e < vector_size<T>; ++e)
      if (e < count) to[e] = vector.values[e];
  }
}

// Writes sums to one matrix of out.
template <typename T>
struct Epilogue {
  const Product<T>& p;
  T* out;
  bool is_vectorized;

  __device__ Epilogue(const Product<T>& p, bool is_vectorized, int64_t batch)
      : p(p), out(p.out + batch * p.m * p.n), is_vectorized(is_vectorized) {}

  // What else goes into the sums of a vector's first `columns` from `column` on, where it differs from row to row.
  struct Inputs {
    Vector<T> out, saved;
  };
  __device__ Inputs load(int64_t row, int64_t column, int columns) const {
    int64_t at = row * p.n + column;
    Inputs inputs;
    if (p.accumulate) inputs.out = load_vector(out + at, columns, is_vectorized);
    if (p.saved) inputs.saved = load_vector(p.saved + at, columns, is_vectorized);
    return inputs;
  }

  __device__ void store(int64_t row, int64_t column, const Vector<T>& sums, int columns) const {
    store(row, column, sums, columns, load(row, column, columns));
  }
  __device__ void store(int64_t row, int64_t column, Vector<T> sums, int columns, const Inputs& inputs) const {
    int64_t at = row * p.n + column;
    if (p.accumulate) add(sums, inputs.out);
    if (p.bias && p.repeats_bias)
#pragma unroll
      for (T& sum : sums.values) sum += *p.bias;
    else if (p.bias)
      add(sums, load_vector(p.bias + column, columns, is_vectorized));
    if (p.saved) {
#pragma unroll
      for (int e = 0; e < vector_size<T>; ++e)
        sums.values[e] = activation_gradient(p.activation, inputs.saved.values[e], sums.values[e]);
    } else {
#pragma unroll
      for (T& sum : sums.values) sum = activate(p.activation, sum);
    }
    store_vector(out + at, sums, columns, is_vectorized);
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
