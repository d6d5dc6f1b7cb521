// One line times a matrix: every number of the matrix is read once, so memory decides, and no tile would be full.
#pragma once
#include "epilogue.cuh"
#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

// out (1 x n) from a (1 x k) and b (k x n), in `groups` of columns and `splits` of k.
struct VectorPlan {
  unsigned groups, splits;
  int64_t split_depth;
};

// Splits until there are `blocks_wanted` blocks or only `least_depth` steps are left for one. Blocks of a few warps
// each fill a multiprocessor by the dozen: reasoned, not measured.
inline VectorPlan plan_vector_product(int64_t batch, int64_t groups, int64_t k, int64_t blocks_wanted,
                                      int64_t least_depth) {
  int64_t most = divide_up(k, least_depth), splits = batch * groups > 0 ? blocks_wanted / (batch * groups) : 1;
  if (splits > most) splits = most;
  if (splits < 1) splits = 1;
  int64_t depth = divide_up(divide_up(k, splits), least_depth) * least_depth;
  return {(unsigned)groups, (unsigned)(k > 0 ? divide_up(k, depth) : 1), depth};
}

// Where a block works.
struct VectorPlace {
  unsigned split, group_of_all;
  int64_t batch, group, first_step, end_step;

  __device__ VectorPlace(const VectorPlan& plan, int64_t k)
      : split(blockIdx.x % plan.splits),
        group_of_all(blockIdx.x / plan.splits),
        batch(group_of_all / plan.groups),
        group(group_of_all % plan.groups),
        first_step(split * plan.split_depth),
        end_step(k - first_step < plan.split_depth ? k : first_step + plan.split_depth) {}
};

// ---- the lines of b are contiguous: dot products

constexpr int dot_warps = 4;

// out[j] = epilogue(sum over k of a[k] * b[j, k]), a warp for each j
template <typename T>
__global__ void dot_products_kernel(Product<T> p, VectorPlan plan, bool is_vectorized, T* partial, unsigned* arrivals) {
  follow_earlier_kernels();
  constexpr int size = vector_size<T>;
  int lane = threadIdx.x % warp_threads;
  VectorPlace place(plan, p.k);
  int64_t line = place.group * dot_warps + threadIdx.x / warp_threads;
  const T *a = p.a.data + place.batch * p.a.batch_stride, *b = p.b.data + place.batch * p.b.batch_stride + line * p.k;
  T total = 0;
  if (line < p.n) {
    if (is_vectorized) {
      Vector<T> sum = {};
#pragma unroll 4
      for (int64_t step = place.first_step + lane * size; step < place.end_step; step += warp_threads * size) {
        Vector<T> a_here = *(const Vector<T>*)(a + step), b_here = *(const Vector<T>*)(b + step);
#pragma unroll
        for (int e = 0; e < size; ++e) sum.values[e] += a_here.values[e] * b_here.values[e];
      }
#pragma unroll
      for (int e = 0; e < size; ++e) total += sum.values[e];
    } else {
#pragma unroll 4
      for (int64_t step = place.first_step + lane; step < place.end_step; step += warp_threads)
        total += a[step] * b[step];
    }
  }
  total = warp_reduce(total, Sum{});
  if (plan.splits > 1) {
    T* of_line = partial + ((int64_t)place.group_of_all * dot_warps + threadIdx.x / warp_threads) * plan.splits;
    if (lane == 0) of_line[place.split] = total;
    if (!arrives_last(arrivals + place.group_of_all, plan.splits)) return;
    total = 0;
    for (unsigned split = lane; split < plan.splits; split += warp_threads) total += of_line[split];
    total = warp_reduce(total, Sum{});
  }
  if (lane == 0 && line < p.n) Epilogue<T>(p, false, place.batch).store(0, line, Vector<T>{{total}}, 1);
}

// ---- the lines of b lie side by side: a weighted sum of the rows that they make

constexpr int row_warps = 8;

// out[j] = epilogue(sum over k of a[k] * b[k, j]); a thread has a vector of columns and every eighth row
template <typename T>
__global__ void weighted_rows_kernel(Product<T> p, VectorPlan plan, bool is_vectorized, Vector<T>* partial,
                                     unsigned* arrivals) {
  follow_earlier_kernels();
  constexpr int size = vector_size<T>;
  SHARED(Vector<T>, of_warp, [row_warps][warp_threads]);
  int lane = threadIdx.x % warp_threads, warp = threadIdx.x / warp_threads;
  VectorPlace place(plan, p.k);
  int64_t column = (place.group * warp_threads + lane) * size;
  int columns = p.n - column < size ? (int)(p.n - column) : size;
  const T *a = p.a.data + place.batch * p.a.batch_stride, *b = p.b.data + place.batch * p.b.batch_stride + column;
  Vector<T> sum = {};
  if (columns > 0) {
#pragma unroll 8
    for (int64_t step = place.first_step + warp; step < place.end_step; step += row_warps) {
      Vector<T> b_here = load_vector(b + step * p.n, columns, is_vectorized);
      T weight = a[step];
#pragma unroll
      for (int e = 0; e < size; ++e) sum.values[e] += weight * b_here.values[e];
    }
  }
  of_warp[warp][lane] = sum;
  __syncthreads();
  sum = of_warp[0][lane];
#pragma unroll
  for (int other = 1; other < row_warps; ++other) add(sum, of_warp[other][lane]);
  if (plan.splits > 1) {
    Vector<T>* of_lane = partial + (int64_t)place.group_of_all * plan.splits * warp_threads + lane;
    if (warp == 0) of_lane[place.split * warp_threads] = sum;
    if (!arrives_last(arrivals + place.group_of_all, plan.splits)) return;
    if (warp > 0) return;
    sum = load_from_other_blocks(of_lane);
#pragma unroll 4
    for (unsigned split = 1; split < plan.splits; ++split)
      add(sum, load_from_other_blocks(of_lane + split * warp_threads));
  }
  if (warp == 0 && columns > 0)
    Epilogue<T>(p, is_vectorized && has_vector_outputs(p), place.batch).store(0, column, sum, columns);
}

// ---- which kernel

// p has m = 1.
template <typename T>
void multiply_vector(Stream stream, const Product<T>& p) {
  constexpr int size = vector_size<T>;
  bool a_vectorized = has_vectors(p.a.data, p.a.batch_stride), b_vectorized = p.b.is_vectorized();
  if (p.b.has_contiguous_lines) {
    VectorPlan plan =
        plan_vector_product(p.batch, divide_up(p.n, dot_warps), p.k, 4 * multiprocessors, 8 * warp_threads * size);
    launch(stream, p.batch * plan.groups * plan.splits, dot_warps * warp_threads, dot_products_kernel<T>, p, plan,
           a_vectorized && b_vectorized, (T*)stream.scratch, stream.arrivals);
  } else {
    VectorPlan plan =
        plan_vector_product(p.batch, divide_up(p.n, warp_threads * size), p.k, 2 * multiprocessors, 8 * row_warps);
    launch(stream, p.batch * plan.groups * plan.splits, row_warps * warp_threads, weighted_rows_kernel<T>, p, plan,
           b_vectorized, (Vector<T>*)stream.scratch, stream.arrivals);
  }
}

}  // namespace
}  // namespace MINIDL_TARGET
