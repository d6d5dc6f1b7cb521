// Class labels: which rows count, how much, and the sum of that.
#pragma once
#include "kernels.h"
#include "launch.cuh"
#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct Labels {
  const int64_t* labels;
  const T* class_weight;
  int64_t rows, classes, ignore_index;

  __device__ bool is_valid(int64_t label) const { return label >= 0 && label < classes; }
  // What the gradient of a loss is multiplied by that is divided by divisor: 0 where no row counts.
  static __device__ T scale_of(double divisor) { return divisor == 0 ? T(0) : (T)(1 / divisor); }
  // How much a row counts: nan for a label that is out of range.
  __device__ T weight_of(int64_t label) const {
    if (label == ignore_index) return 0;
    if (!is_valid(label)) return (T)NAN;
    return class_weight ? class_weight[label] : T(1);
  }
};

// Sum of the weights of the rows first, first + step, ... of all threads of the block, in each of them.
template <typename T, int threads>
__device__ double weight_of_rows(const Labels<T>& of, int64_t first, int64_t step) {
  double sum = 0;
#pragma unroll 4
  for (int64_t i = first; i < of.rows; i += step) sum += of.weight_of(of.labels[i]);
  return group_reduce<threads>(sum, Sum{});
}

constexpr int weight_threads = 256;

// sum[0] = sum over i of weight[labels[i]]
template <typename T>
__global__ void __launch_bounds__(weight_threads)
    label_weight_kernel(Labels<T> of, double* sum, double* parts, unsigned* arrivals) {
  follow_earlier_kernels();
  double weight = weight_of_rows<T, weight_threads>(of, blockIdx.x * (int64_t)weight_threads + threadIdx.x,
                                                    gridDim.x * (int64_t)weight_threads);
  if (grid_sum<weight_threads>(weight, parts, arrivals) && threadIdx.x == 0) sum[0] = weight;
}

// So many labels, 16 a thread, each block reads sooner than a launch of its own would add them up; reasoned, not
// measured.
constexpr int64_t max_labels_per_block = 4096;

// Where the sum of the rows' weights will stand if a mean needs it and a launch of its own adds it up: before `parts`,
// which moves on. Null where each block adds it up.
template <typename T>
const double* sum_of_many_weights(Stream stream, const Labels<T>& of, Reduction reduction, double*& parts) {
  if (reduction != Reduction::mean || of.rows <= max_labels_per_block) return nullptr;
  double* sum = parts++;
  const int64_t blocks = divide_up(of.rows, 4 * weight_threads);
  launch(stream, blocks < max_summing_blocks ? blocks : max_summing_blocks, weight_threads, label_weight_kernel<T>, of,
         sum, parts, stream.arrivals);
  return sum;
}

}  // namespace
}  // namespace MINIDL_TARGET
