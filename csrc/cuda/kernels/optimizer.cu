// Optimizer steps over all parameters of a group in one launch, and the clipping of their gradients.
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

// A pack of each.
template <typename T, int states>
struct Elements {
  static constexpr int width = pack_width<T>;
  Pack<T, width> param, grad, state[3];

  __device__ void load(const Segment<T>& from, bool is_aligned, int64_t i, int64_t count) {
    param = load_pack_if(is_aligned, from.param + i, count);
    grad = load_pack_if(is_aligned, from.grad + i, count);
#pragma unroll
    for (int k = 0; k < states; ++k)
      if (from.state[k]) state[k] = load_pack_if(is_aligned, from.state[k] + i, count);
  }

  __device__ void store(const Segment<T>& to, bool is_aligned, int64_t i, int64_t count) const {
    store_pack_if(is_aligned, to.param + i, param, count);
#pragma unroll
    for (int k = 0; k < states; ++k)
      if (to.state[k]) store_pack_if(is_aligned, to.state[k] + i, state[k], count);
  }

  template <typename Update>
  __device__ void apply(const Update& update) {
#pragma unroll
    for (int j = 0; j < width; ++j) {
      Element<T> x{param.at[j], grad.at[j], {}};
#pragma unroll
      for (int k = 0; k < states; ++k) x.state[k] = state[k].at[j];
      update(x);
      param.at[j] = x.param;
#pragma unroll
      for (int k = 0; k < states; ++k) state[k].at[j] = x.state[k];
    }
  }
};

template <typename T>
__device__ bool has_packs(const Segment<T>& segment) {
  uintptr_t addresses = (uintptr_t)segment.param | (uintptr_t)segment.grad;
  for (const T* state : segment.state) addresses |= (uintptr_t)state;
  return addresses % pack_bytes == 0;
}

// Applies rule.update_of(segment, schedule, steps), a function of Element, to all elements. Every block computes with
// steps = t + 1; the last one to have read its counters counts on.
template <typename Rule, typename T>
__global__ void __launch_bounds__(segment_threads)
    step_kernel(const __grid_constant__ SegmentBatch<T> batch, const double* schedule, Rule rule, unsigned* arrivals) {
  using Update = typename Rule::Update;
  SHARED(Update, update_of_block, [1]);
  SHARED(bool, is_last, [1]);
  constexpr int width = pack_width<T>;
  const auto part = batch.part_of(blockIdx.x);
  const Segment<T>& segment = *part.segment;
  const bool is_aligned = has_packs(segment);

  // The first loads are under way while one thread computes what the rule needs in double.
  Elements<T, Rule::states> x{};
  int64_t i = part.begin + threadIdx.x * width;
  if (i < part.end) x.load(segment, is_aligned, i, part.end - i);
  if (threadIdx.x == 0)
    update_of_block[0] = rule.update_of(segment, schedule, segment.counters[0] ? *segment.counters[0] + 1 : 0);
  __syncthreads();
  unsigned arrived = 0;
  if (threadIdx.x == 0) {
    __threadfence();
    arrived = atomicAdd(arrivals, 1u);
  }
  const Update update = update_of_block[0];
  while (i < part.end) {
    x.apply(update);
    x.store(segment, is_aligned, i, part.end - i);
    i += batch.step;
    if (i < part.end) x.load(segment, is_aligned, i, part.end - i);
  }

  if (threadIdx.x == 0) is_last[0] = arrived == gridDim.x - 1;
  __syncthreads();
  if (!is_last[0]) return;
  if (threadIdx.x == 0) *arrivals = 0;
  if ((int)threadIdx.x < batch.count) rule.count_step(batch.segments[threadIdx.x], schedule);
}

template <typename Rule, typename T>
void step_segments(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, Rule rule) {
  if (count == 0) return;
  static_assert(sizeof(SegmentBatch<T>) + sizeof(rule) + 32 <= 4096);
  // 8 blocks fill a multiprocessor; more packs per thread save blocks, each of which has its constants to compute.
  for_segment_batches(segments, count, 8 * multiprocessors, [&](const SegmentBatch<T>& batch, int blocks, bool) {
    launch(stream, blocks, segment_threads, step_kernel<Rule, T>, batch, schedule, rule, stream.arrivals);
  });
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
  static constexpr int states = 1;
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
  step_segments(stream, segments, count, schedule, Sgd<T>{{}, dampening, nesterov, maximize});
}

template <typename T>
struct Adam : CountsSteps {
  static constexpr int states = 3;
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
  step_segments(stream, segments, count, schedule, Adam<T>{{}, beta2, eps, decoupled, maximize});
}

template <typename T>
struct Adagrad : CountsSteps {
  static constexpr int states = 1;
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
  step_segments(stream, segments, count, schedule, Adagrad<T>{{}, lr_decay, eps, maximize});
}

template <typename T>
struct Rmsprop : CountsSteps {
  static constexpr int states = 3;
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
  step_segments(stream, segments, count, schedule, Rmsprop<T>{{}, alpha, eps, maximize});
}

template <typename T>
struct Adadelta : CountsSteps {
  static constexpr int states = 2;
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
  step_segments(stream, segments, count, schedule, Adadelta<T>{{}, rho, eps, maximize});
}

template <typename T>
struct Adamax : CountsSteps {
  static constexpr int states = 2;
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
  step_segments(stream, segments, count, schedule, Adamax<T>{{}, beta2, eps, maximize});
}

template <typename T>
struct Nadam {
  static constexpr int states = 2;
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
  step_segments(stream, segments, count, schedule, Nadam<T>{beta2, eps, momentum_decay, decoupled, maximize});
}

template <typename T>
struct Radam : CountsSteps {
  static constexpr int states = 2;
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
  step_segments(stream, segments, count, schedule, Radam<T>{{}, beta2, eps, decoupled, maximize});
}

// ---- clipping

// out[0] (+)= sum of grad^2: a sum per block in sums, added up by the last one.
template <typename T>
__global__ void __launch_bounds__(segment_threads)
    squared_norm_kernel(const __grid_constant__ SegmentBatch<T> batch, double* sums, double* out, bool accumulate,
                        unsigned* arrivals) {
  constexpr int width = pack_width<T>;
  const auto part = batch.part_of(blockIdx.x);
  const T* grad = part.segment->grad;
  const bool is_aligned = (uintptr_t)grad % pack_bytes == 0;
  double sums_of_thread[width] = {};
#pragma unroll 4
  for (int64_t i = part.begin + threadIdx.x * width; i < part.end; i += batch.step) {
    const auto pack = load_pack_if(is_aligned, grad + i, part.end - i);
#pragma unroll
    for (int j = 0; j < width; ++j) sums_of_thread[j] += (double)pack.at[j] * (double)pack.at[j];
  }
  double sum = 0;
#pragma unroll
  for (int j = 0; j < width; ++j) sum += sums_of_thread[j];
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
  // 8 blocks fill a multiprocessor, and the last block has 5 sums per thread to add.
  constexpr int64_t all_blocks = 8 * multiprocessors;
  static_assert((all_blocks + max_segments) * sizeof(double) <= scratch_bytes);
  for_segment_batches(segments, count, all_blocks, [&](const SegmentBatch<T>& batch, int blocks, bool is_first) {
    launch(stream, blocks, segment_threads, squared_norm_kernel<T>, batch, (double*)stream.scratch, out, !is_first,
           stream.arrivals);
  });
}

// grad *= min(1, max_norm / (sqrt(squared_norm[0]) + 1e-6))
template <typename T>
__global__ void __launch_bounds__(segment_threads)
    scale_gradients_kernel(const __grid_constant__ SegmentBatch<T> batch, const double* squared_norm, double max_norm) {
  constexpr int width = pack_width<T>;
  SHARED(double, scale, [1]);
  if (threadIdx.x == 0) scale[0] = max_norm / (sqrt(squared_norm[0]) + 1e-6);
  __syncthreads();
  if (scale[0] >= 1) return;  // goes on where the norm is nan
  const T factor = T(scale[0]);
  const auto part = batch.part_of(blockIdx.x);
  T* grad = part.segment->grad;
  const bool is_aligned = (uintptr_t)grad % pack_bytes == 0;
#pragma unroll 4
  for (int64_t i = part.begin + threadIdx.x * width; i < part.end; i += batch.step) {
    auto pack = load_pack_if(is_aligned, grad + i, part.end - i);
#pragma unroll
    for (int j = 0; j < width; ++j) pack.at[j] *= factor;
    store_pack_if(is_aligned, grad + i, pack, part.end - i);
  }
}

template <typename T>
void scale_gradients(Stream stream, const Segment<T>* segments, int64_t count, const double* squared_norm,
                     double max_norm) {
  for_segment_batches(segments, count, 8 * multiprocessors, [&](const SegmentBatch<T>& batch, int blocks, bool) {
    launch(stream, blocks, segment_threads, scale_gradients_kernel<T>, batch, squared_norm, max_norm);
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
