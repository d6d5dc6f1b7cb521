// What the machine can do at most, measured with the simplest kernels: multiply-adds in registers, and memory.
#include <ptx.cuh>

#include "kernels.h"
#include "launch.cuh"

namespace MINIDL_TARGET {

namespace {

constexpr int block_threads = 256;

template <typename T>
__global__ void multiply_add_kernel(const T* x, T* out, int64_t size, T factor, T term) {
  follow_earlier_kernels();
  int64_t i = blockIdx.x * (int64_t)block_threads + threadIdx.x;
  if (i >= size) return;
  T value = x[i];
#pragma unroll 64
  for (int step = 0; step < 4096; ++step) value = value * factor + term;
  out[i] = value;
}

template <typename T>
void multiply_add(Stream stream, const T* x, T* out, int64_t size, double factor, double term) {
  launch(stream, divide_up(size, block_threads), block_threads, multiply_add_kernel<T>, x, out, size, factor, term);
}

// bypass_cache concerns CPUs only: a GPU's L2 writes whole lines without reading them first.
template <typename T>
__global__ void triad_kernel(const T* a, const T* b, T* out, int64_t size, T factor) {
  follow_earlier_kernels();
  int64_t i = blockIdx.x * (int64_t)block_threads + threadIdx.x;
  if (i < size) out[i] = a[i] + factor * b[i];
}

template <typename T>
void triad(Stream stream, const T* a, const T* b, T* out, int64_t size, double factor, bool) {
  launch(stream, divide_up(size, block_threads), block_threads, triad_kernel<T>, a, b, out, size, factor);
}

}  // namespace
EXPORT(multiply_add)
EXPORT(triad)

}  // namespace MINIDL_TARGET
