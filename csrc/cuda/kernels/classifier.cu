// The last layer, its cross-entropy and its input gradient at once: for a few classes all three are the business of a
// row alone. A captured step of 784-256-128-10 has a chain of 6 kernels with it instead of 8.
#include "classifier.h"

#include "cross_entropy.cuh"
#include "gemm/narrow.cuh"

namespace MINIDL_TARGET {
namespace {

// A row each. Every one reads the whole weight: few of them, so that they do not wait for each other in the cache of
// one multiprocessor.
constexpr int classifier_warps = 4;
constexpr int classifier_threads = classifier_warps * warp_threads;

template <typename T>
__device__ CrossEntropy<T> cross_entropy_of(const Classifier<T>& of) {
  constexpr const T* no_class_weight = nullptr;
  return {{of.labels, no_class_weight, of.rows, of.classes, of.ignore_index},
          of.logits,
          of.loss,
          of.grad_logits,
          of.label_smoothing,
          of.reduction};
}

// The sum of the rows' losses as cross_entropy_kernel takes it, by a whole block.
template <typename Shape, typename T>
__device__ double sum_of_losses(const T* losses, int rows) {
  constexpr int threads = cross_entropy_threads<Shape>, rows_of_block = threads / Shape::lanes;
  static_assert(most_classified_rows / rows_of_block <= classifier_threads);
  double own = 0;  // of the block that this thread stands for
#pragma unroll 1
  for (int block = 0; block * rows_of_block < rows; ++block) {
    auto loss_of = [=](int thread) {
      const int i = block * rows_of_block + thread / Shape::lanes;
      return i < rows && thread % Shape::lanes == 0 ? (double)losses[i] : 0.;
    };
    const double of_block = group_reduce_by<threads, classifier_threads>(loss_of, Sum{});
    if (threadIdx.x == block) own = of_block;
  }
  if (rows <= rows_of_block) return own;
  auto of_block = [=](int thread) { return thread == threadIdx.x ? own : 0.; };
  return group_reduce_by<threads, classifier_threads>(of_block, Sum{});
}

// Where by_vectors, all rows but those of the classes can be read and written by vectors. The code is short: what a
// multiprocessor runs once, it has to fetch.
template <bool by_vectors, int columns, typename Shape, typename T>
__global__ void __launch_bounds__(classifier_threads, 1)
    classifier_kernel(Classifier<T> classifier, T* losses, unsigned* arrivals) {
  follow_earlier_kernels();
  constexpr int size = vector_size<T>;
  SHARED(Vector<T>, of_warps, [classifier_warps][2][most_narrow / size]);
  const int warp = threadIdx.x / warp_threads, lane = threadIdx.x % warp_threads;
  const int classes = (int)classifier.classes, features = (int)classifier.in_features;
  const int64_t i = blockIdx.x * (int64_t)classifier_warps + warp;
  const bool exists = i < classifier.rows;
  T *logits = (T*)of_warps[warp][0], *grads = (T*)of_warps[warp][1];

  // The logits
  if (exists) {
    T sum = narrow_sums<by_vectors, columns>(classifier.x + i * features, classifier.weight, classes, features);
    const int column = lane / lanes_per_column;
    if (lane % lanes_per_column == 0 && column < classes) {
      if (classifier.bias) sum += classifier.bias[column];
      logits[column] = sum;
      classifier.logits[i * classes + column] = sum;
    }
  }

  // The loss and its gradient. Without weights of classes, that of all rows is their number, in whatever order.
  const CrossEntropy<T> of = cross_entropy_of(classifier);
  double divisor = 1;
  if (of.reduction == Reduction::mean) divisor = weight_of_rows<T, classifier_threads>(of, threadIdx.x, blockDim.x);
  __syncwarp();
  const T* const arrays[] = {logits};
  const Row<T, Shape> row(arrays, 0, exists && lane < Shape::lanes ? classes : 0);
  const T loss = of.of_row(row, exists ? i : 0, of.scale_of(divisor), (T)classes, grads);
  __syncwarp();

  // The gradient of x
  if (exists) {
    if (lane == 0) losses[i] = loss;
    if (lane < classes) classifier.grad_logits[i * classes + lane] = grads[lane];
#pragma unroll 1
    for (int column = lane * size; column < features; column += warp_threads * size) {
      const int count = features - column < size ? features - column : size;
      const int64_t at = i * features + column;
      Vector<T> sums = shallow_sums(grads, classifier.weight, classes, features, column, count, by_vectors);
      if (classifier.saved) {
        const Vector<T> saved = load_vector(classifier.saved + at, count, by_vectors);
#pragma unroll
        for (int e = 0; e < size; ++e)
          sums.values[e] = activation_gradient(classifier.activation, saved.values[e], sums.values[e]);
      }
      store_vector(classifier.grad_x + at, sums, count, by_vectors);
    }
  }
  if (!arrives_last(arrivals, gridDim.x)) return;
  const double total = sum_of_losses<Shape>(losses, (int)classifier.rows);
  if (threadIdx.x == 0) classifier.loss[0] = (T)(total / divisor);
}

template <typename T>
void launch_classifier(Stream stream, Classifier<T> of) {
  if (of.activation == Activation::none) of.saved = nullptr;
  const bool by_vectors =
      of.in_features % vector_size<T> == 0 && is_aligned(vector_bytes, of.x, of.weight, of.saved, of.grad_x);
  with_short_row_shape<T>(of.classes, is_aligned(pack_bytes, of.logits, of.grad_logits), [&](auto shape) {
    with_narrow_shape(by_vectors, of.classes, [&](auto by_vectors, auto columns) {
      launch(stream, divide_up(of.rows, classifier_warps), classifier_threads,
             classifier_kernel<by_vectors(), columns(), decltype(shape), T>, of, (T*)stream.scratch, stream.arrivals);
    });
  });
}

}  // namespace
}  // namespace MINIDL_TARGET

namespace minidl {
void classify(Stream stream, const Classifier<float>& of) { MINIDL_TARGET::launch_classifier(stream, of); }
void classify(Stream stream, const Classifier<double>& of) { MINIDL_TARGET::launch_classifier(stream, of); }
}  // namespace minidl
