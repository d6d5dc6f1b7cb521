// Negative log-likelihood of labels, fused with its gradient.
#pragma once
#include "kernels.h"
#include "labels.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct NegativeLogLikelihood : Labels<T> {
  const T* log_probs;
  T *loss, *grad_log_probs;
  Reduction reduction;
};

constexpr int nll_threads = 256;

// Element by element over rows x classes: the gradient; a row's loss falls to the thread of its first class.
template <typename T>
__global__ void __launch_bounds__(nll_threads)
    nll_kernel(NegativeLogLikelihood<T> of, const double* label_weight, double* parts, unsigned* arrivals) {
  follow_earlier_kernels();
  double divisor = 1;
  if (of.reduction == Reduction::mean)
    divisor = label_weight ? *label_weight : weight_of_rows<T, nll_threads>(of, threadIdx.x, nll_threads);
  const T scale = of.scale_of(divisor);

  const int64_t width = of.classes > 0 ? of.classes : 1;  // without classes, the rows still have their losses
  const int64_t step = gridDim.x * (int64_t)nll_threads, start = blockIdx.x * (int64_t)nll_threads + threadIdx.x;
  int64_t row = start / width, column = start % width;
  const int64_t row_step = step / width, column_step = step % width;
  double total = 0;
  while (row < of.rows) {
    const int64_t label = of.labels[row];
    const bool is_valid = of.is_valid(label), counts = label != of.ignore_index;
    const T weight = of.weight_of(label);
    if (of.grad_log_probs && of.classes > 0) {
      const T own = is_valid ? -scale * weight : weight;  // nan everywhere in a row whose label is out of range
      of.grad_log_probs[row * of.classes + column] = counts && (!is_valid || column == label) ? own : T(0);
    }
    if (column == 0) {
      const T loss = counts ? -weight * (is_valid ? of.log_probs[row * of.classes + label] : T(0)) : T(0);
      total += loss;
      if (of.reduction == Reduction::none) of.loss[row] = loss;
    }
    row += row_step;
    column += column_step;
    if (column >= width) {
      column -= width;
      ++row;
    }
  }
  if (of.reduction == Reduction::none) return;
  total = group_reduce<nll_threads>(total, Sum{});
  if (grid_sum<nll_threads>(total, parts, arrivals) && threadIdx.x == 0) of.loss[0] = (T)(total / divisor);
}

template <typename T>
void nll_forward(Stream stream, const T* log_probs, const int64_t* labels, const T* class_weight, T* loss,
                 T* grad_log_probs, int64_t rows, int64_t classes, int64_t ignore_index, Reduction reduction) {
  const NegativeLogLikelihood<T> of{
      {labels, class_weight, rows, classes, ignore_index}, log_probs, loss, grad_log_probs, reduction};
  double* parts = static_cast<double*>(stream.scratch);
  const double* label_weight = sum_of_many_weights(stream, of, reduction, parts);
  int64_t blocks = divide_up(rows * (classes > 0 ? classes : 1), nll_threads);
  if (blocks > max_summing_blocks) blocks = max_summing_blocks;
  if (blocks == 0) blocks = 1;  // the loss of no rows
  launch(stream, blocks, nll_threads, nll_kernel<T>, of, label_weight, parts, stream.arrivals);
}

}  // namespace
}  // namespace MINIDL_TARGET
