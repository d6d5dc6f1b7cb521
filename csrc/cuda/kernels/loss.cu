// Losses: those of class labels, fused with their gradients, and the losses that compare element by element.
#include "cross_entropy.cuh"
#include "elementwise.cuh"
#include "kernels.h"
#include "nll.cuh"

namespace MINIDL_TARGET {

namespace {

// ---- element by element: each loss beside its slope, the derivative by the first operand

template <typename T>
struct BinaryCrossEntropy {
  static __device__ T clamped(T log) { return log < -100 ? T(-100) : log; }
  __device__ T loss(T p, T target) const { return -(target * clamped(log(p)) + (1 - target) * clamped(log1p(-p))); }
  __device__ T slope(T p, T target) const {
    const T variance = p * (1 - p), least = (T)1e-12;
    return (p - target) / (variance < least ? least : variance);
  }
};

template <typename T>
struct BinaryCrossEntropyWithLogits {
  __device__ T loss(T x, T target) const { return (x < 0 ? T(0) : x) - x * target + log1p(exp(-fabs(x))); }
  __device__ T slope(T x, T target) const { return 1 / (1 + exp(-x)) - target; }
};

template <typename T>
struct SquaredError {
  __device__ T loss(T x, T target) const { return (x - target) * (x - target); }
  __device__ T slope(T x, T target) const { return 2 * (x - target); }
};

// nan stays nan
template <typename T>
__device__ T sign(T x) {
  return x > 0 ? T(1) : x < 0 ? T(-1) : x;
}

template <typename T>
struct AbsoluteError {
  __device__ T loss(T x, T target) const { return fabs(x - target); }
  __device__ T slope(T x, T target) const { return sign(x - target); }
};

template <typename T>
struct SmoothL1 {
  T beta, half_beta, curvature;
  __device__ T loss(T x, T target) const {
    const T distance = fabs(x - target);
    return distance < beta ? curvature * distance * distance : distance - half_beta;
  }
  __device__ T slope(T x, T target) const {
    const T difference = x - target;
    return fabs(difference) < beta ? difference / beta : sign(difference);
  }
};

template <typename T>
struct Huber {
  T delta;
  __device__ T loss(T x, T target) const {
    const T distance = fabs(x - target), half = T(0.5);
    return distance <= delta ? half * distance * distance : delta * (distance - half * delta);
  }
  __device__ T slope(T x, T target) const {
    const T difference = x - target;
    return difference > delta ? delta : difference < -delta ? -delta : difference;
  }
};

template <typename T, typename Loss>
struct LossOfElement {
  Loss of;
  __device__ T operator()(T x, T target) const { return of.loss(x, target); }
};
template <typename T, typename Loss>
struct GradientOfElement {
  Loss of;
  __device__ T operator()(T x, T target, T grad_out) const { return grad_out * of.slope(x, target); }
};
template <typename T, typename Loss>
struct GradientOfReduced {
  Loss of;
  const T* grad_out;
  T divisor;
  __device__ T operator()(T x, T target) const { return *grad_out / divisor * of.slope(x, target); }
};

constexpr int loss_threads = 256;

// loss[0] = (sum of the elements' losses) / divisor; a block adds up a piece
template <typename T, typename Shape, typename Loss>
__global__ void __launch_bounds__(loss_threads)
    reduced_loss_kernel(Loss of, const T* x, const T* target, T* loss, int64_t size, int64_t piece, T divisor, T* parts,
                        unsigned* arrivals) {
  follow_earlier_kernels();
  const T* const arrays[] = {x, target};
  const int64_t begin = blockIdx.x * piece, left = size - begin;
  const Row<T, Shape, 2> row(arrays, begin, left < piece ? left : piece);
  T sum = row.sum([&](int64_t, T x, T target) { return of.loss(x, target); });
  if (grid_sum<loss_threads>(sum, parts, arrivals) && threadIdx.x == 0) *loss = sum / divisor;
}

template <typename T, typename Loss>
void loss_forward(Stream stream, Loss of, const T* x, const T* target, T* loss, int64_t size, Reduction reduction) {
  if (reduction == Reduction::none) return map(stream, size, loss, LossOfElement<T, Loss>{of}, x, target);
  auto launch_reduced = [&](auto shape) {
    using Shape = decltype(shape);
    constexpr int64_t batch = Shape::stride * Shape::packs;
    int64_t blocks = divide_up(size, batch);
    if (blocks > max_summing_blocks) blocks = max_summing_blocks;
    if (blocks == 0) blocks = 1;  // the loss of nothing
    const int64_t piece = divide_up(divide_up(size, batch), blocks) * batch;
    if (size > 0) blocks = divide_up(size, piece);
    const T divisor = reduction == Reduction::mean ? (T)size : T(1);
    launch(stream, blocks, loss_threads, reduced_loss_kernel<T, Shape, Loss>, of, x, target, loss, size, piece, divisor,
           static_cast<T*>(stream.scratch), stream.arrivals);
  };
  if (is_aligned(pack_bytes, x, target))
    launch_reduced(StreamedRow<T, loss_threads, pack_width<T>>{});
  else
    launch_reduced(StreamedRow<T, loss_threads, 1>{});
}

// grad = grad_out * slope (/ size for the mean)
template <typename T, typename Loss>
void loss_backward(Stream stream, Loss of, const T* x, const T* target, const T* grad_out, T* grad, int64_t size,
                   Reduction reduction) {
  if (reduction == Reduction::none) return map(stream, size, grad, GradientOfElement<T, Loss>{of}, x, target, grad_out);
  const T divisor = reduction == Reduction::mean ? (T)size : T(1);
  map(stream, size, grad, GradientOfReduced<T, Loss>{of, grad_out, divisor}, x, target);
}

template <typename T>
void bce_forward(Stream stream, const T* probs, const T* target, T* loss, int64_t size, Reduction reduction) {
  loss_forward(stream, BinaryCrossEntropy<T>{}, probs, target, loss, size, reduction);
}
template <typename T>
void bce_backward(Stream stream, const T* probs, const T* target, const T* grad_out, T* grad_probs, int64_t size,
                  Reduction reduction) {
  loss_backward(stream, BinaryCrossEntropy<T>{}, probs, target, grad_out, grad_probs, size, reduction);
}

template <typename T>
void bce_with_logits_forward(Stream stream, const T* logits, const T* target, T* loss, int64_t size,
                             Reduction reduction) {
  loss_forward(stream, BinaryCrossEntropyWithLogits<T>{}, logits, target, loss, size, reduction);
}
template <typename T>
void bce_with_logits_backward(Stream stream, const T* logits, const T* target, const T* grad_out, T* grad_logits,
                              int64_t size, Reduction reduction) {
  loss_backward(stream, BinaryCrossEntropyWithLogits<T>{}, logits, target, grad_out, grad_logits, size, reduction);
}

template <typename T>
void mse_forward(Stream stream, const T* x, const T* target, T* loss, int64_t size, Reduction reduction) {
  loss_forward(stream, SquaredError<T>{}, x, target, loss, size, reduction);
}
template <typename T>
void mse_backward(Stream stream, const T* x, const T* target, const T* grad_out, T* grad_x, int64_t size,
                  Reduction reduction) {
  loss_backward(stream, SquaredError<T>{}, x, target, grad_out, grad_x, size, reduction);
}

template <typename T>
void l1_forward(Stream stream, const T* x, const T* target, T* loss, int64_t size, Reduction reduction) {
  loss_forward(stream, AbsoluteError<T>{}, x, target, loss, size, reduction);
}
template <typename T>
void l1_backward(Stream stream, const T* x, const T* target, const T* grad_out, T* grad_x, int64_t size,
                 Reduction reduction) {
  loss_backward(stream, AbsoluteError<T>{}, x, target, grad_out, grad_x, size, reduction);
}

template <typename T>
SmoothL1<T> smooth_l1(double beta) {
  return {(T)beta, (T)(0.5 * beta), (T)(0.5 / beta)};
}
template <typename T>
void smooth_l1_forward(Stream stream, const T* x, const T* target, T* loss, int64_t size, Reduction reduction,
                       double beta) {
  loss_forward(stream, smooth_l1<T>(beta), x, target, loss, size, reduction);
}
template <typename T>
void smooth_l1_backward(Stream stream, const T* x, const T* target, const T* grad_out, T* grad_x, int64_t size,
                        Reduction reduction, double beta) {
  loss_backward(stream, smooth_l1<T>(beta), x, target, grad_out, grad_x, size, reduction);
}

template <typename T>
void huber_forward(Stream stream, const T* x, const T* target, T* loss, int64_t size, Reduction reduction,
                   double delta) {
  loss_forward(stream, Huber<T>{(T)delta}, x, target, loss, size, reduction);
}
template <typename T>
void huber_backward(Stream stream, const T* x, const T* target, const T* grad_out, T* grad_x, int64_t size,
                    Reduction reduction, double delta) {
  loss_backward(stream, Huber<T>{(T)delta}, x, target, grad_out, grad_x, size, reduction);
}

}  // namespace
EXPORT(cross_entropy_forward)
EXPORT(nll_forward)
EXPORT(bce_forward)
EXPORT(bce_backward)
EXPORT(bce_with_logits_forward)
EXPORT(bce_with_logits_backward)
EXPORT(mse_forward)
EXPORT(mse_backward)
EXPORT(l1_forward)
EXPORT(l1_backward)
EXPORT(smooth_l1_forward)
EXPORT(smooth_l1_backward)
EXPORT(huber_forward)
EXPORT(huber_backward)

}  // namespace MINIDL_TARGET
