// Cross-entropy from logits, fused with its gradient: one read of the logits, the loss reduced in the same launch.
#pragma once
#include "kernels.h"
#include "log_sum.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct CrossEntropy {
  const T* logits;
  const int64_t* labels;
  const T* class_weight;
  T *loss, *grad_logits;
  int64_t rows, classes, ignore_index;
  double label_smoothing;
  Reduction reduction;

  __device__ bool is_valid(int64_t label) const { return label >= 0 && label < classes; }
  // How much a row counts: nan for a label that is out of range.
  __device__ T weight_of(int64_t label) const {
    if (label == ignore_index) return 0;
    if (!is_valid(label)) return (T)NAN;
    return class_weight ? class_weight[label] : T(1);
  }
  __device__ T weight_at(int64_t column) const { return class_weight ? class_weight[column] : T(1); }

  // The loss of one row; grad_logits = scale * its gradient. weight_sum is over all classes.
  template <typename Shape>
  __device__ T of_row(const Row<T, Shape>& row, int64_t i, T scale, T weight_sum) const {
    const int64_t label = labels[i];
    const bool is_smooth = label_smoothing > 0;
    const T own = (T)(1 - label_smoothing) * weight_of(label);
    const T share = label == ignore_index ? T(0) : (T)(label_smoothing / classes);  // of every class
    const T logit = is_valid(label) ? logits[i * classes + label] : T(0);
    const LogSum<T> of = log_sum(row);
    const T sum = of.sum_of_differences(), log_of_sum = log(sum);
    T result = own * (log_of_sum - (logit - of.max));
    if (is_smooth)
      result += share * row.sum([&](int64_t c, T x) { return (log_of_sum - (x - of.max)) * weight_at(c); });
    if (grad_logits) {
      const T of_power = (own + share * weight_sum) / sum * scale, of_class = share * scale, of_label = own * scale;
      const int64_t place = is_valid(label) && label != ignore_index ? label : -1;
      row.write(grad_logits, [&](int64_t c, T x) {
        T grad = exp(x - of.max) * of_power;
        if (is_smooth) grad -= of_class * weight_at(c);
        return c == place ? grad - of_label : grad;
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

// Sum of the weights of the rows first, first + step, ... of all threads of the block, in each of them.
template <int threads, typename T>
__device__ double weight_of_rows(const CrossEntropy<T>& of, int64_t first, int64_t step) {
  double sum = 0;
#pragma unroll 4
  for (int64_t i = first; i < of.rows; i += step) sum += of.weight_of(of.labels[i]);
  return group_reduce<threads>(sum, Sum{});
}

constexpr int weight_threads = 256;

// sum[0] = sum over i of weight[labels[i]]
template <typename T>
__global__ void __launch_bounds__(weight_threads)
    label_weight_kernel(CrossEntropy<T> of, double* sum, double* parts, unsigned* arrivals) {
  follow_earlier_kernels();
  double weight = weight_of_rows<weight_threads>(of, blockIdx.x * (int64_t)weight_threads + threadIdx.x,
                                                 gridDim.x * (int64_t)weight_threads);
  if (grid_sum<weight_threads>(weight, parts, arrivals) && threadIdx.x == 0) sum[0] = weight;
}

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
    divisor = label_weight ? *label_weight : weight_of_rows<threads>(of, threadIdx.x, threads);
  const T scale = divisor == 0 ? T(0) : (T)(1 / divisor);  // no row counts: no gradient
  T weight_sum = (T)of.classes;
  if (of.class_weight && of.label_smoothing > 0) {
    const T* const weights[] = {of.class_weight};
    weight_sum = Row<T, StreamedRow<T, Shape::lanes, 1>>(weights, 0, of.classes).sum([](int64_t, T w) { return w; });
  }

  double total = 0;
  for (int64_t first = blockIdx.x * (int64_t)rows_of_block; first < of.rows; first += step) {
    const bool exists = i < of.rows;
    const T loss = of.of_row(row, exists ? i : 0, scale, weight_sum);
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

// So many labels, 16 a thread, each block reads sooner than a launch of its own would add them up; reasoned, not
// measured.
constexpr int64_t max_labels_per_block = 4096;

template <typename T>
void cross_entropy_forward(Stream stream, const T* logits, const int64_t* labels, const T* class_weight, T* loss,
                           T* grad_logits, int64_t rows, int64_t classes, int64_t ignore_index, double label_smoothing,
                           Reduction reduction) {
  const CrossEntropy<T> of{logits,  labels,       class_weight,    loss,     grad_logits, rows,
                           classes, ignore_index, label_smoothing, reduction};
  double *label_weight = nullptr, *parts = static_cast<double*>(stream.scratch);
  if (reduction == Reduction::mean && rows > max_labels_per_block) {
    label_weight = parts++;
    const int64_t blocks = divide_up(rows, 4 * weight_threads);
    launch(stream, blocks < max_summing_blocks ? blocks : max_summing_blocks, weight_threads, label_weight_kernel<T>,
           of, label_weight, parts, stream.arrivals);
  }
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
