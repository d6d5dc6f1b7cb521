// Optimizer steps over all parameters of a group in one launch, and the clipping of their gradients.
#include <algorithm>

#include "kernels.h"
#include "launch.cuh"
#include "reduce.cuh"
#include "segments.cuh"

namespace MINIDL_TARGET {

namespace {

// ---- walking a group

// One element of a parameter, its gradient and its state.
template <typename T>
struct Element {
  T param, grad, state[3];
};

// A pack of each. Which states a group keeps (bit k: state[k]) is known to the compiler: it takes stores by vectors
// apart where they depend on a pointer.
template <typename T, unsigned kept, int width>
struct Elements {
  Pack<T, width> param, grad, state[3];

  __device__ void load(const Segment<T>& from, int64_t i) {
    param = load_pack<width>(from.param + i, width);
    grad = load_pack<width>(from.grad + i, width);
#pragma unroll
    for (int k = 0; k < 3; ++k)
      if (kept >> k & 1) state[k] = load_pack<width>(from.state[k] + i, width);
  }

  template <typename Update>
  __device__ void apply(const Update& update) {
#pragma unroll
    for (int j = 0; j < width; ++j) {
      Element<T> x{param.at[j], grad.at[j], {}};
#pragma unroll
      for (int k = 0; k < 3; ++k) x.state[k] = state[k].at[j];
      update(x);
      param.at[j] = x.param;
#pragma unroll
      for (int k = 0; k < 3; ++k) state[k].at[j] = x.state[k];
    }
  }

  __device__ void store(const Segment<T>& to, int64_t i) const {
    store_pack(to.param + i, param, width);
#pragma unroll
    for (int k = 0; k < 3; ++k)
      if (kept >> k & 1) store_pack(to.state[k] + i, state[k], width);
  }
};

// Applies rule.update_of(segment, schedule, steps), a function of Element, to all elements. Every block computes with
// steps = t + 1; the last one to have read its counters counts on.
template <int width, unsigned kept, typename Rule, typename T>
__global__ void __launch_bounds__(segment_threads)
    step_kernel(const __grid_constant__ SegmentBatch<T> batch, const double* schedule, Rule rule, unsigned* arrivals) {
  follow_earlier_kernels();
  using Update = typename Rule::Update;
  SHARED(Update, update_of_block, [1]);
  SHARED(bool, is_last, [1]);
  const auto part = batch.part_of(blockIdx.x);
  const Segment<T>& segment = *part.segment;
  const int64_t packs_end = part.packs_end(width);

  // The first loads are under way while one thread computes what the rule needs in double.
  Elements<T, kept, width> x{};
  int64_t i = part.begin + threadIdx.x * width;
  if (i < packs_end) x.load(segment, i);
  if (threadIdx.x == 0)
    update_of_block[0] = rule.update_of(segment, schedule, segment.counters[0] ? *segment.counters[0] + 1 : 0);
  __syncthreads();
  unsigned arrived = 0;
  if (threadIdx.x == 0) {
    __threadfence();
    arrived = atomicAdd(arrivals, 1u);
  }
  const Update update = update_of_block[0];
  while (i < packs_end) {
    x.apply(update);
    x.store(segment, i);
    i += segment_threads * width;
    if (i < packs_end) x.load(segment, i);
  }
  if (width > 1 && packs_end + threadIdx.x < part.end) {
    Elements<T, kept, 1> single{};
    single.load(segment, packs_end + threadIdx.x);
    single.apply(update);
    single.store(segment, packs_end + threadIdx.x);
  }

  if (threadIdx.x == 0) is_last[0] = arrived == gridDim.x - 1;
  __syncthreads();
  if (!is_last[0]) return;
  if (threadIdx.x == 0) *arrivals = 0;
  if ((int)threadIdx.x < batch.count) rule.count_step(batch.segments[threadIdx.x], schedule);
}

// Two rounds of the 4 to 8 blocks that a multiprocessor holds, one pack of each array per thread under way; more packs
// per thread rather than more blocks, each of which has its constants to compute. Reasoned, not measured.
constexpr int64_t group_blocks_wanted = 8 * multiprocessors;

template <unsigned... sets>
using States = std::integer_sequence<unsigned, sets...>;

template <unsigned kept, typename Rule, typename T>
void step_keeping(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, Rule rule) {
  static_assert(sizeof(SegmentBatch<T>) + sizeof(rule) + 32 <= 4096);
  for_segment_batches(segments, count, group_blocks_wanted,
                      [&](const SegmentBatch<T>& batch, int blocks, bool, auto width) {
                        launch(stream, blocks, segment_threads, step_kernel<width(), kept, Rule, T>, batch, schedule,
                               rule, stream.arrivals);
                      });
}

template <typename Rule, typename T, unsigned... sets>
void step_segments(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, Rule rule,
                   States<sets...>) {
  if (count == 0) return;
  // An array without elements may have no address, so the first segment with elements says which states there are;
  // where none has, any kernel counts the step.
  const Segment<T>* first = std::find_if(segments, segments + count, [](const Segment<T>& s) { return s.size > 0; });
  constexpr unsigned some_set[] = {sets...};
  // Without a loop, for which GCC 12 with -O1 -fsanitize=undefined finds 7 where two states are kept.
  auto bit_of = [&](int k) { return first->state[k] != nullptr ? 1u << k : 0u; };
  unsigned kept = first == segments + count ? some_set[0] : bit_of(0) | bit_of(1) | bit_of(2);
  ((kept == sets ? step_keeping<sets>(stream, segments, count, schedule, rule) : void()), ...);
}

// ---- what the rules share

// How every rule begins: the gradient's sign and weight decay, on the parameter itself (decoupled) or as L2 term.
template <typename T>
struct Decay {
  bool maximize;
  T l2, shrink;

  __device__ void operator()(Element<T>& x) const {
    if (maximize) x.grad = -x.grad;
    if (l2 != 0) x.grad = l2 * x.param + x.grad;
    if (shrink != 1) x.param *= shrink;
  }
};

template <typename T>
__device__ Decay<T> decay_of(const double* schedule, bool decoupled, bool maximize) {
  return {maximize, decoupled ? T(0) : T(schedule[2]), decoupled ? T(1 - schedule[0] * schedule[2]) : T(1)};
}

// beta * average + (1 - beta) * value
template <typename T>
struct Running {
  T keep, take;
  __device__ T operator()(T average, T value) const { return keep * average + take * value; }
};
template <typename T>
__device__ Running<T> running(double beta) {
  return {T(beta), T(1 - beta)};
}

// 1 - beta^t, in a fraction of the instructions of pow in double
__device__ inline double bias_correction(double beta, double steps) { return -expm1(steps * log(beta)); }

// b where either is nan
template <typename T>
__device__ T larger(T a, T b) {
  return a > b ? a : b;
}

// A rule's counters unless it says otherwise.
struct CountsSteps {
  template <typename T>
  __device__ void count_step(const Segment<T>& segment, const double*) const {
    if (segment.counters[0]) *segment.counters[0] += 1;
  }
};

// ---- rules

template <typename T>
struct Sgd : CountsSteps {
  double dampening;
  bool nesterov, maximize;

  struct Update {
    Decay<T> decay;
    T lr, momentum, share;
    bool has_buffer, nesterov;
    __device__ void operator()(Element<T>& x) const {
      decay(x);
      T direction = x.grad;
      if (has_buffer) {
        x.state[0] = momentum * x.state[0] + share * x.grad;
        direction = nesterov ? momentum * x.state[0] + x.grad : x.state[0];
      }
      x.param -= lr * direction;
    }
  };
  __device__ Update update_of(const Segment<T>& segment, const double* schedule, double steps) const {
    return {decay_of<T>(schedule, false, maximize),
            T(schedule[0]),
            T(schedule[1]),
            steps == 1 ? T(1) : T(1 - dampening),
            segment.state[0] != nullptr,
            nesterov};
  }
};

template <typename T>
void sgd_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double dampening,
              bool nesterov, bool maximize) {
  step_segments(stream, segments, count, schedule, Sgd<T>{{}, dampening, nesterov, maximize}, States<0b0, 0b1>());
}

template <typename T>
struct Adam : CountsSteps {
  double beta2, eps;
  bool decoupled, maximize;

  struct Update {
    Decay<T> decay;
    Running<T> mean, square;
    T step_size, root_scale, eps;
    bool amsgrad;
    __device__ void operator()(Element<T>& x) const {
      decay(x);
      x.state[0] = mean(x.state[0], x.grad);
      x.state[1] = square(x.state[1], x.grad * x.grad);
      T variance = x.state[1];
      if (amsgrad) variance = x.state[2] = larger(x.state[2], x.state[1]);
      x.param -= step_size * x.state[0] / (root_scale * sqrt(variance) + eps);
    }
  };
  __device__ Update update_of(const Segment<T>& segment, const double* schedule, double steps) const {
    const double lr = schedule[0], beta1 = schedule[1];
    return {decay_of<T>(schedule, decoupled, maximize),
            running<T>(beta1),
            running<T>(beta2),
            T(lr / bias_correction(beta1, steps)),
            T(1 / sqrt(bias_correction(beta2, steps))),
            T(eps),
            segment.state[2] != nullptr};
  }
};

template <typename T>
void adam_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double beta2,
               double eps, bool decoupled, bool maximize) {
  step_segments(stream, segments, count, schedule, Adam<T>{{}, beta2, eps, decoupled, maximize}, States<0b11, 0b111>());
}

template <typename T>
struct Adagrad : CountsSteps {
  double lr_decay, eps;
  bool maximize;

  struct Update {
    Decay<T> decay;
    T step_size, eps;
    __device__ void operator()(Element<T>& x) const {
      decay(x);
      x.state[0] = x.grad * x.grad + x.state[0];
      x.param -= step_size * x.grad / (sqrt(x.state[0]) + eps);
    }
  };
  __device__ Update update_of(const Segment<T>&, const double* schedule, double steps) const {
    return {decay_of<T>(schedule, false, maximize), T(schedule[0] / (1 + (steps - 1) * lr_decay)), T(eps)};
  }
};

template <typename T>
void adagrad_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double lr_decay,
                  double eps, bool maximize) {
  step_segments(stream, segments, count, schedule, Adagrad<T>{{}, lr_decay, eps, maximize}, States<0b1>());
}

template <typename T>
struct Rmsprop : CountsSteps {
  double alpha, eps;
  bool maximize;

  struct Update {
    Decay<T> decay;
    Running<T> average;
    T lr, momentum, eps;
    bool has_buffer, centered;
    __device__ void operator()(Element<T>& x) const {
      decay(x);
      x.state[0] = average(x.state[0], x.grad * x.grad);
      T variance = x.state[0];
      if (centered) {
        x.state[2] = average(x.state[2], x.grad);
        variance = larger(T(0), variance - x.state[2] * x.state[2]);  // rounding may leave it below 0
      }
      T direction = x.grad / (sqrt(variance) + eps);
      if (has_buffer) direction = x.state[1] = momentum * x.state[1] + direction;
      x.param -= lr * direction;
    }
  };
  __device__ Update update_of(const Segment<T>& segment, const double* schedule, double) const {
    return {decay_of<T>(schedule, false, maximize),
            running<T>(alpha),
            T(schedule[0]),
            T(schedule[1]),
            T(eps),
            segment.state[1] != nullptr,
            segment.state[2] != nullptr};
  }
};

template <typename T>
void rmsprop_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double alpha,
                  double eps, bool maximize) {
  step_segments(stream, segments, count, schedule, Rmsprop<T>{{}, alpha, eps, maximize},
                States<0b1, 0b11, 0b101, 0b111>());
}

template <typename T>
struct Adadelta : CountsSteps {
  double rho, eps;
  bool maximize;

  struct Update {
    Decay<T> decay;
    Running<T> average;
    T lr, eps;
    __device__ void operator()(Element<T>& x) const {
      decay(x);
      x.state[0] = average(x.state[0], x.grad * x.grad);
      const T delta = sqrt(x.state[1] + eps) / sqrt(x.state[0] + eps) * x.grad;
      x.state[1] = average(x.state[1], delta * delta);
      x.param -= lr * delta;
    }
  };
  __device__ Update update_of(const Segment<T>&, const double* schedule, double) const {
    return {decay_of<T>(schedule, false, maximize), running<T>(rho), T(schedule[0]), T(eps)};
  }
};

template <typename T>
void adadelta_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double rho,
                   double eps, bool maximize) {
  step_segments(stream, segments, count, schedule, Adadelta<T>{{}, rho, eps, maximize}, States<0b11>());
}

template <typename T>
struct Adamax : CountsSteps {
  double beta2, eps;
  bool maximize;

  struct Update {
    Decay<T> decay;
    Running<T> mean;
    T beta2, step_size, eps;
    __device__ void operator()(Element<T>& x) const {
      decay(x);
      x.state[0] = mean(x.state[0], x.grad);
      x.state[1] = larger(beta2 * x.state[1], abs(x.grad) + eps);
      x.param -= step_size * x.state[0] / x.state[1];
    }
  };
  __device__ Update update_of(const Segment<T>&, const double* schedule, double steps) const {
    const double lr = schedule[0], beta1 = schedule[1];
    return {decay_of<T>(schedule, false, maximize), running<T>(beta1), T(beta2), T(lr / bias_correction(beta1, steps)),
            T(eps)};
  }
};

template <typename T>
void adamax_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double beta2,
                 double eps, bool maximize) {
  step_segments(stream, segments, count, schedule, Adamax<T>{{}, beta2, eps, maximize}, States<0b11>());
}

template <typename T>
struct Nadam {
  double beta2, eps, momentum_decay;
  bool decoupled, maximize;

  struct Update {
    Decay<T> decay;
    Running<T> mean, square;
    T grad_size, momentum_size, root_scale, eps;
    __device__ void operator()(Element<T>& x) const {
      decay(x);
      x.state[0] = mean(x.state[0], x.grad);
      x.state[1] = square(x.state[1], x.grad * x.grad);
      const T direction = grad_size * x.grad + momentum_size * x.state[0];
      x.param -= direction / (root_scale * sqrt(x.state[1]) + eps);
    }
  };
  __device__ double mu(double beta1, double step) const { return beta1 * (1 - 0.5 * pow(0.96, step * momentum_decay)); }
  __device__ Update update_of(const Segment<T>& segment, const double* schedule, double steps) const {
    const double lr = schedule[0], beta1 = schedule[1];
    const double now = mu(beta1, steps), next = mu(beta1, steps + 1), product = *segment.counters[1] * now;
    return {decay_of<T>(schedule, decoupled, maximize),
            running<T>(beta1),
            running<T>(beta2),
            T(lr * (1 - now) / (1 - product)),
            T(lr * next / (1 - product * next)),
            T(1 / sqrt(bias_correction(beta2, steps))),
            T(eps)};
  }
  __device__ void count_step(const Segment<T>& segment, const double* schedule) const {
    const double steps = *segment.counters[0] + 1;
    *segment.counters[0] = steps;
    *segment.counters[1] *= mu(schedule[1], steps);
  }
};

template <typename T>
void nadam_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double beta2,
                double eps, double momentum_decay, bool decoupled, bool maximize) {
  step_segments(stream, segments, count, schedule, Nadam<T>{beta2, eps, momentum_decay, decoupled, maximize},
                States<0b11>());
}

template <typename T>
struct Radam : CountsSteps {
  double beta2, eps;
  bool decoupled, maximize;

  struct Update {
    Decay<T> decay;
    Running<T> mean, square;
    T step_size, eps;
    bool is_rectified;
    __device__ void operator()(Element<T>& x) const {
      decay(x);
      x.state[0] = mean(x.state[0], x.grad);
      x.state[1] = square(x.state[1], x.grad * x.grad);
      const T direction = step_size * x.state[0];
      x.param -= is_rectified ? direction / (sqrt(x.state[1]) + eps) : direction;
    }
  };
  __device__ Update update_of(const Segment<T>&, const double* schedule, double steps) const {
    const double lr = schedule[0], beta1 = schedule[1], correction = bias_correction(beta2, steps);
    const double limit = 2 / (1 - beta2) - 1, rho = limit - 2 * steps * (1 - correction) / correction;
    const bool is_rectified = rho > 5;
    double step_size = lr / bias_correction(beta1, steps);
    if (is_rectified) step_size *= sqrt(correction * (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho));
    return {decay_of<T>(schedule, decoupled, maximize),
            running<T>(beta1),
            running<T>(beta2),
            T(step_size),
            T(eps),
            is_rectified};
  }
};

template <typename T>
void radam_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double beta2,
                double eps, bool decoupled, bool maximize) {
  step_segments(stream, segments, count, schedule, Radam<T>{{}, beta2, eps, decoupled, maximize}, States<0b11>());
}

// ---- clipping

// out[0] (+)= sum of grad^2: a sum per block in sums, added up by the last one.
template <int width, typename T>
__global__ void __launch_bounds__(segment_threads)
    squared_norm_kernel(const __grid_constant__ SegmentBatch<T> batch, double* sums, double* out, bool accumulate,
                        unsigned* arrivals) {
  follow_earlier_kernels();
  const auto part = batch.part_of(blockIdx.x);
  double lanes[width] = {}, sum = 0;
  for_packs<width>(part, [&]<int count>(std::integral_constant<int, count>, int64_t i) {
    const auto pack = load_pack<count>(part.segment->grad + i, count);
#pragma unroll
    for (int j = 0; j < count; ++j) lanes[j] += (double)pack.at[j] * (double)pack.at[j];
  });
#pragma unroll
  for (int j = 0; j < width; ++j) sum += lanes[j];
  sum = block_reduce<segment_threads>(sum, Sum());
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  if (!arrives_last(arrivals, gridDim.x)) return;
  sum = 0;
  for (int block = threadIdx.x; block < (int)gridDim.x; block += segment_threads) sum += sums[block];
  sum = block_reduce<segment_threads>(sum, Sum());
  if (threadIdx.x == 0) out[0] = accumulate ? out[0] + sum : sum;
}

template <typename T>
void squared_norm(Stream stream, const Segment<T>* segments, int64_t count, double* out) {
  static_assert((group_blocks_wanted + max_segments) * sizeof(double) <= scratch_bytes);
  for_segment_batches(segments, count, group_blocks_wanted,
                      [&](const SegmentBatch<T>& batch, int blocks, bool is_first, auto width) {
                        launch(stream, blocks, segment_threads, squared_norm_kernel<width(), T>, batch,
                               (double*)stream.scratch, out, !is_first, stream.arrivals);
                      });
}

// grad *= min(1, max_norm / (sqrt(squared_norm[0]) + 1e-6))
template <int width, typename T>
__global__ void __launch_bounds__(segment_threads)
    scale_gradients_kernel(const __grid_constant__ SegmentBatch<T> batch, const double* squared_norm, double max_norm) {
  follow_earlier_kernels();
  SHARED(double, scale, [1]);
  if (threadIdx.x == 0) scale[0] = max_norm / (sqrt(squared_norm[0]) + 1e-6);
  __syncthreads();
  if (scale[0] >= 1) return;  // goes on where the norm is nan
  const T factor = T(scale[0]);
  const auto part = batch.part_of(blockIdx.x);
  for_packs<width>(part, [&]<int count>(std::integral_constant<int, count>, int64_t i) {
    auto pack = load_pack<count>(part.segment->grad + i, count);
#pragma unroll
    for (int j = 0; j < count; ++j) pack.at[j] *= factor;
    store_pack(part.segment->grad + i, pack, count);
  });
}

template <typename T>
void scale_gradients(Stream stream, const Segment<T>* segments, int64_t count, const double* squared_norm,
                     double max_norm) {
  for_segment_batches(
      segments, count, group_blocks_wanted, [&](const SegmentBatch<T>& batch, int blocks, bool, auto width) {
        launch(stream, blocks, segment_threads, scale_gradients_kernel<width(), T>, batch, squared_norm, max_norm);
      });
}

}  // namespace
EXPORT(sgd_step)
EXPORT(adam_step)
EXPORT(adagrad_step)
EXPORT(rmsprop_step)
EXPORT(adadelta_step)
EXPORT(adamax_step)
EXPORT(nadam_step)
EXPORT(radam_step)
EXPORT(squared_norm)
EXPORT(scale_gradients)

}  // namespace MINIDL_TARGET
