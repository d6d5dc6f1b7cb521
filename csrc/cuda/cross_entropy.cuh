// Cross-entropy from logits, fused with its gradient: one read of the logits, the loss reduced in the same launch.
#pragma once
#include "kernels.h"
#include "labels.cuh"
#include "log_sum.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct CrossEntropy : Labels<T> {
  const T* logits;
  T *loss, *grad_logits;
  double label_smoothing;
  Reduction reduction;
  using Labels<T>::labels;
  using Labels<T>::class_weight;
  using Labels<T>::rows;
  using Labels<T>::classes;
  using Labels<T>::ignore_index;
  using Labels<T>::is_valid;
  using Labels<T>::weight_of;

  __device__ T weight_at(int64_t column) const { return class_weight ? class_weight[column] : T(1); }

  // The loss of row i of the labels; grad, which lies as the logits do that the row was read from, = scale * its
  // gradient, or null. weight_sum is over all classes.
  template <typename Shape>
  __device__ T of_row(const Row<T, Shape>& row, int64_t i, T scale, T weight_sum, T* grad) const {
    const int64_t label = labels[i];
    const bool is_smooth = label_smoothing > 0;
    const T own = (T)(1 - label_smoothing) * weight_of(label);
    const T share = label == ignore_index ? T(0) : (T)(label_smoothing / classes);  // of every class
    const T logit = is_valid(label) ? row.x[0][label] : T(0);
    const LogSum<T> of = log_sum(row);
    const T sum = of.sum_of_differences(), log_of_sum = log(sum);
    T result = own * (log_of_sum - (logit - of.max));
    if (is_smooth)
      result += share * row.sum([&](int64_t c, T x) { return (log_of_sum - (x - of.max)) * weight_at(c); });
    if (grad) {
      const T of_power = (own + share * weight_sum) / sum * scale, of_class = share * scale, of_label = own * scale;
      const int64_t place = is_valid(label) && label != ignore_index ? label : -1;
      row.write(grad, [&](int64_t c, T x) {
        T slope = exp(x - of.max) * of_power;
        if (is_smooth) slope -= of_class * weight_at(c);
        return c == place ? slope - of_label : slope;
      });
    }
    return own == 0 && share == 0 ? T(0) : result;  // 0 * infinity would be nan
  }
};

// 512 threads classify a batch of 128 rows of up to 16 classes in one block, which then waits for no other. The 1 in
// the launch bounds keeps ptxas from spilling a register to fit one block more.
template <typename Shape>
constexpr int cross_entropy_threads = Shape::lanes > 32  ? Shape::lanes
                                      : Shape::lanes > 8 ? 256
                                                         : 512;

// loss = reduced -log softmax(logits)[label] * weight[label]; grad_logits, rows x classes, its gradient.
// label_weight: where the sum of the rows' weights stands, or null for each block to add them up.
template <typename T, typename Shape>
__global__ void __launch_bounds__(cross_entropy_threads<Shape>, 1)
    cross_entropy_kernel(CrossEntropy<T> of, const double* label_weight, double* parts, unsigned* arrivals) {
  follow_earlier_kernels();
  constexpr int threads = cross_entropy_threads<Shape>, rows_of_block = threads / Shape::lanes;
  const int64_t step = gridDim.x * (int64_t)rows_of_block;
  int64_t i = blockIdx.x * (int64_t)rows_of_block + threadIdx.x / Shape::lanes;
  const T* const arrays[] = {of.logits};
  auto row_at = [&](int64_t i) {
    return Row<T, Shape>(arrays, i < of.rows ? i * of.classes : 0, i < of.rows ? of.classes : 0);
  };
  Row<T, Shape> row = row_at(i);  // on its way while the weights are added up

  double divisor = 1;
  if (of.reduction == Reduction::mean)
    divisor = label_weight ? *label_weight : weight_of_rows<T, threads>(of, threadIdx.x, threads);
  const T scale = of.scale_of(divisor);
  T weight_sum = (T)of.classes;
  if (of.class_weight && of.label_smoothing > 0) {
    const T* const weights[] = {of.class_weight};
    weight_sum = Row<T, StreamedRow<T, Shape::lanes, 1>>(weights, 0, of.classes).sum([](int64_t, T w) { return w; });
  }

  double total = 0;
  for (int64_t first = blockIdx.x * (int64_t)rows_of_block; first < of.rows; first += step) {
    const bool exists = i < of.rows;
    const T loss = of.of_row(row, exists ? i : 0, scale, weight_sum, of.grad_logits);
    if (exists && row.lane == 0) {
      total += loss;
      if (of.reduction == Reduction::none) of.loss[i] = loss;
    }
    i += step;
    row = row_at(i);
  }
  if (of.reduction == Reduction::none) return;
  total = group_reduce<threads>(total, Sum{});
  if (grid_sum<threads>(total, parts, arrivals) && threadIdx.x == 0) of.loss[0] = (T)(total / divisor);
}

template <typename T>
void cross_entropy_forward(Stream stream, const T* logits, const int64_t* labels, const T* class_weight, T* loss,
                           T* grad_logits, int64_t rows, int64_t classes, int64_t ignore_index, double label_smoothing,
                           Reduction reduction) {
  const CrossEntropy<T> of{
      {labels, class_weight, rows, classes, ignore_index}, logits, loss, grad_logits, label_smoothing, reduction};
  double* parts = static_cast<double*>(stream.scratch);
  const double* label_weight = sum_of_many_weights(stream, of, reduction, parts);
  with_row_shape<T>(classes, is_aligned(pack_bytes, logits, grad_logits), [&](auto shape) {
    using Shape = decltype(shape);
    constexpr int threads = cross_entropy_threads<Shape>;
    int64_t blocks = divide_up(rows, threads / Shape::lanes);
    if (blocks > max_summing_blocks) blocks = max_summing_blocks;
    if (blocks == 0) blocks = 1;  // the loss of no rows
    launch(stream, blocks, threads, cross_entropy_kernel<T, Shape>, of, label_weight, parts, stream.arrivals);
  });
}

}  // namespace
}  // namespace MINIDL_TARGET
