// The products of a network's last layer, which has few outputs: every row by itself. The order of additions depends on
// the shape of the weight alone, so that the kernel that joins both with the loss (classifier.cu) finds the same sums.
#pragma once
#include "epilogue.cuh"
#include "narrow.h"
#include "packs.cuh"
#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

// ---- few columns: out[i, j] = sum over k of a[i, k] * b[j, k]

constexpr int lanes_per_column = warp_threads / most_narrow;

// Adds the sums of all lanes: half of the columns for half of the lanes, and so on until each lane has one column, in
// sum[0]. By recursion: of loops, not all are unrolled.
template <int half, typename T>
__device__ void share_columns(T (&sum)[most_narrow]) {
  if constexpr (half > 0) {
    constexpr int distance = half * lanes_per_column;
    const bool is_upper = threadIdx.x % warp_threads & distance;
#pragma unroll
    for (int j = 0; j < half; ++j) {
      const T given = is_upper ? sum[j] : sum[j + half], kept = is_upper ? sum[j + half] : sum[j];
      sum[j] = kept + __shfl_xor_sync(whole_warp, given, distance);
    }
    share_columns<half / 2>(sum);
  }
}

// Of one row and the n lines of b, at most `columns` <= most_narrow, by a whole warp: lane l gets the sum for column
// l / 2.
template <bool by_vectors, int columns, typename T>
__device__ T narrow_sums(const T* a, const T* b, int n, int64_t k) {
  constexpr int size = pack_width<T>;
  const int lane = threadIdx.x % warp_threads;
  T sum[most_narrow] = {};
#pragma unroll 1
  for (int64_t step = lane * size; step < k; step += warp_threads * size) {
    const int count = k - step < size ? (int)(k - step) : size;
    const Pack<T, size> of_a = read_pack<by_vectors>(a + step, count);
#pragma unroll
    for (int j = 0; j < columns; ++j) {
      // Beyond n once more the last line, in vain: a condition would let each load wait for the one before it.
      const Pack<T, size> of_b = read_pack<by_vectors>(b + (j < n ? j : n - 1) * k + step, count);
#pragma unroll
      for (int e = 0; e < size; ++e) sum[j] = fma(of_a.at[e], of_b.at[e], sum[j]);
    }
  }
  share_columns<most_narrow / 2>(sum);
  static_assert(lanes_per_column == 2);
  return sum[0] + __shfl_xor_sync(whole_warp, sum[0], 1);
}

// launcher(by_vectors, columns), both as constants, for n <= most_narrow.
template <typename Launcher>
void with_narrow_shape(bool is_vectorized, int64_t n, const Launcher& launcher) {
  auto with_columns = [&](auto by_vectors) {
    if (n <= 8)
      launcher(by_vectors, std::integral_constant<int, 8>());
    else if (n <= 12)
      launcher(by_vectors, std::integral_constant<int, 12>());
    else
      launcher(by_vectors, std::integral_constant<int, most_narrow>());
  };
  if (is_vectorized)
    with_columns(std::true_type());
  else
    with_columns(std::false_type());
}

constexpr int narrow_warps = 4;

template <bool by_vectors, int columns, typename T>
__global__ void __launch_bounds__(narrow_warps* warp_threads) narrow_kernel(Product<T> p) {
  follow_earlier_kernels();
  const int64_t row = blockIdx.x * (int64_t)narrow_warps + threadIdx.x / warp_threads;
  if (row >= p.m) return;
  const T sum = narrow_sums<by_vectors, columns>(p.a.data + row * p.k, p.b.data, (int)p.n, p.k);
  const int column = threadIdx.x % warp_threads / lanes_per_column;
  if (threadIdx.x % lanes_per_column == 0 && column < p.n)
    Epilogue<T>(p, false, 0).store(row, column, Vector<T>{{sum}}, 1);
}

// ---- few steps: out[i, j] = sum over k of a[i, k] * b[k, j]

// The vector of sums from `column` on, of which `columns` are wanted.
template <typename T>
__device__ Vector<T> shallow_sums(const T* a, const T* b, int k, int64_t n, int64_t column, int columns,
                                  bool is_vectorized) {
  Vector<T> sums = {};
#pragma unroll 4
  for (int step = 0; step < k; ++step) {
    const Vector<T> of_b = load_vector(b + step * n + column, columns, is_vectorized);
    const T factor = a[step];
#pragma unroll
    for (int e = 0; e < vector_size<T>; ++e) sums.values[e] = fma(factor, of_b.values[e], sums.values[e]);
  }
  return sums;
}

constexpr int shallow_threads = 128;

template <typename T>
__global__ void __launch_bounds__(shallow_threads)
    shallow_kernel(Product<T> p, bool b_vectorized, bool out_vectorized) {
  follow_earlier_kernels();
  constexpr int size = vector_size<T>;
  const unsigned vectors = (unsigned)((p.n + size - 1) / size), vector = blockIdx.x * shallow_threads + threadIdx.x;
  const int64_t row = vector / vectors, column = vector % vectors * size;
  if (row >= p.m) return;
  const int columns = p.n - column < size ? (int)(p.n - column) : size;
  const Vector<T> sums = shallow_sums(p.a.data + row * p.k, p.b.data, (int)p.k, p.n, column, columns, b_vectorized);
  Epilogue<T>(p, out_vectorized, 0).store(row, column, sums, columns);
}

// ---- which kernel

// Whether it was one of these products, which is then queued. p is the output or the input gradient of a layer: a's
// lines are contiguous, and the batch is 1.
template <typename T>
bool multiply_narrow(Stream stream, const Product<T>& p) {
  if (p.b.has_contiguous_lines && is_narrow(p.m, p.n, p.k)) {
    with_narrow_shape(p.a.is_vectorized() && p.b.is_vectorized(), p.n, [&](auto by_vectors, auto columns) {
      launch(stream, divide_up(p.m, narrow_warps), narrow_warps * warp_threads,
             narrow_kernel<by_vectors(), columns(), T>, p);
    });
    return true;
  }
  if (!p.b.has_contiguous_lines && is_shallow(p.m, p.n, p.k)) {
    const int64_t vectors = p.m * divide_up(p.n, vector_size<T>);
    launch(stream, divide_up(vectors, shallow_threads), shallow_threads, shallow_kernel<T>, p, p.b.is_vectorized(),
           has_vector_outputs(p));
    return true;
  }
  return false;
}

}  // namespace
}  // namespace MINIDL_TARGET
