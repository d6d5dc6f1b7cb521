// What is multiplied: out (m x n) = activation(a b + bias (+ out)), or that times the activation's derivative; a and b
// in either layout.
#pragma once
#include <stdint.h>

#include <type_traits>

#include "kernels.h"
#include "launch.cuh"

namespace MINIDL_TARGET {
namespace {

constexpr int vector_bytes = 16;  // what a thread loads and stores at once
template <typename T>
constexpr int vector_size = vector_bytes / sizeof(T);

template <typename T>
struct alignas(vector_bytes) Vector {
  T values[vector_size<T>];
};

// The instructions by name: the compiler takes a vector's assignment apart where it is one of two ways, and its load
// where the elements are added one by one. What other blocks wrote comes from L2.
template <typename T>
using WideType = std::conditional_t<sizeof(T) == sizeof(float), float4, double2>;
template <typename T>
__device__ Vector<T> load_from_other_blocks(const Vector<T>* from) {
  return __builtin_bit_cast(Vector<T>, __ldcg((const WideType<T>*)from));
}
template <typename T>
__device__ void store_whole(T* to, const Vector<T>& vector) {
  __stwb((WideType<T>*)to, __builtin_bit_cast(WideType<T>, vector));
}

template <typename T>
__device__ void add(Vector<T>& sum, const Vector<T>& term) {
#pragma unroll
  for (int e = 0; e < vector_size<T>; ++e) sum.values[e] += term.values[e];
}

// Whether whole vectors can be read or written from data on and from every multiple of stride on.
template <typename T>
__host__ __device__ bool has_vectors(const T* data, int64_t stride) {
  return (uintptr_t)data % vector_bytes == 0 && stride % vector_size<T> == 0;
}

}  // namespace

// One factor as lines along k: the rows of a, the columns of b.
template <typename T>
struct Factor {
  const T* data;
  int64_t lines, steps;
  bool has_contiguous_lines;  // else the lines lie side by side, one step of k after the other
  int64_t batch_stride = 0;

  // From line to line if these are contiguous, else from step to step.
  __host__ __device__ int64_t stride() const { return has_contiguous_lines ? steps : lines; }
  bool is_vectorized() const { return has_vectors(data, stride()) && batch_stride % vector_size<T> == 0; }
};

template <typename T>
struct Product {
  int64_t batch, m, n, k;
  Factor<T> a, b;
  T* out;
  bool accumulate = false;
  const T* bias = nullptr;  // n values, or null
  Activation activation = Activation::none;
  const T* saved = nullptr;   // like out, or null; else out is a gradient that goes back through the activation
  bool repeats_bias = false;  // bias is one value for all of out
  T* line_sums = nullptr;     // m values, (+)= the sums of a's lines along k, or null; a's lines lie side by side then
};

namespace {

// Whether out, and what is read like out, can be accessed in vectors.
template <typename T>
__host__ __device__ bool has_vector_outputs(const Product<T>& p) {
  return has_vectors(p.out, p.n) && (p.batch == 1 || p.m * p.n % vector_size<T> == 0) && has_vectors(p.bias, 0) &&
         has_vectors(p.saved, 0);
}

}  // namespace
}  // namespace MINIDL_TARGET
