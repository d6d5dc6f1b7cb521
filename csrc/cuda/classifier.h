// The last layer of a classifier, its cross-entropy and the gradient of the layer's input by one kernel.
#pragma once
#include "gemm/narrow.h"
#include "kernels.h"

namespace minidl {

// The arguments of linear_forward, cross_entropy_forward and linear_backward_input; classes have no weights.
template <typename T>
struct Classifier {
  const T *x, *weight, *bias;
  T* logits;
  const int64_t* labels;
  T *loss, *grad_logits;
  const T* saved;  // what `activation` gave, or null
  T* grad_x;
  int64_t rows, in_features, classes, ignore_index;
  double label_smoothing;
  Reduction reduction;
  Activation activation;
};

// One block adds up the losses of so many rows at most.
constexpr int64_t most_classified_rows = 1024;

// Whether the kernel knows the shape and the reduction: its sums are then those of the three, in the same order.
constexpr bool can_classify(int64_t rows, int64_t in_features, int64_t classes, Reduction reduction) {
  return reduction != Reduction::none && rows <= most_classified_rows && is_narrow(rows, classes, in_features) &&
         is_shallow(rows, in_features, classes);
}

void classify(Stream stream, const Classifier<float>& of);
void classify(Stream stream, const Classifier<double>& of);

}  // namespace minidl
