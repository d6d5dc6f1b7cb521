// The backward kernels of batch norm and layer norm, laid out as in normalization_forward.cuh.
#pragma once
#include "normalization_forward.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct Backward {
  const T *x, *weight, *mean, *inv_std, *out, *grad_out;
  T *grad_x, *grad_weight, *grad_bias;
  bool is_layer_norm;
  T scale;
  double count;
};

// x and the gradient that comes in, through dropout and relu or times layer norm's weight, at one place of a walk.
template <typename T, int width>
struct Incoming {
  Pack<T, width> x, g;

  template <typename Walk>
  __device__ void load(const Walk& at, const Backward<T>& b) {
    x = read_pack<Walk::by_vectors>(b.x + at.place(), at.valid());
    g = read_pack<Walk::by_vectors>(b.grad_out + at.place(), at.valid());
    if (b.out) {
      const auto out = read_pack<Walk::by_vectors>(b.out + at.place(), at.valid());
#pragma unroll
      for (int j = 0; j < width; ++j) g.at[j] = out.at[j] > 0 ? b.scale * g.at[j] : T(0);
    }
    if (b.is_layer_norm && b.weight) {
      const auto weight = read_pack<Walk::by_vectors>(b.weight + at.position(), at.valid());
#pragma unroll
      for (int j = 0; j < width; ++j) g.at[j] *= weight.at[j];
    }
  }
};

// grad_x = scale * (g - level - (x - center) * slope) for the channels of a thread
template <typename T, int own>
struct InputGradient {
  T center[own], scale[own], level[own], slope[own], inv_std[own];

  template <typename Walk>
  __device__ void load(const Walk& walk, const Backward<T>& b) {
    load_own(walk, b.mean, T(0), center);
    load_own(walk, b.inv_std, T(0), inv_std);
    load_own(walk, b.is_layer_norm ? nullptr : b.weight, T(1), scale);
#pragma unroll
    for (int c = 0; c < own; ++c) scale[c] *= inv_std[c];
  }

  template <typename Walk>
  __device__ void write(const Walk& at, const Backward<T>& b, Incoming<T, Walk::width> in) const {
#pragma unroll
    for (int j = 0; j < Walk::width; ++j) {
      const int c = j % own;
      in.g.at[j] = scale[c] * (in.g.at[j] - level[c] - (in.x.at[j] - center[c]) * slope[c]);
    }
    write_pack<Walk::by_vectors>(b.grad_x + at.place(), in.g, at.valid());
  }
};

// One launch, one read: x and the gradient stay in registers. sums of g and of g * (x - mean)
template <typename T, typename Walk, int packs>
__global__ void __launch_bounds__(channel_threads)
    backward_resident_kernel(const ChannelLayout layout, const Backward<T> b) {
  follow_earlier_kernels();
  constexpr int width = Walk::width, own = Walk::own;
  const Walk walk(layout, blockIdx.x);
  Incoming<T, width> in[packs];
  Walk at = walk;
  visit<packs>(at, [&](int k, const Walk& at) { in[k].load(at, b); });
  InputGradient<T, own> gradient;
  gradient.load(walk, b);

  T lanes[2][width] = {}, sums[2 * own];
#pragma unroll
  for (int k = 0; k < packs; ++k)
#pragma unroll
    for (int j = 0; j < width; ++j) {
      lanes[0][j] += in[k].g.at[j];
      lanes[1][j] += in[k].g.at[j] * (in[k].x.at[j] - gradient.center[j % own]);
    }
  fold<own>(lanes[0], sums);
  fold<own>(lanes[1], sums + own);
  sum_threads(walk, sums);
#pragma unroll
  for (int c = 0; c < own; ++c) {
    const T weight_sum = gradient.inv_std[c] * sums[own + c];
    gradient.level[c] = sums[c] / T(b.count);
    gradient.slope[c] = gradient.inv_std[c] * weight_sum / T(b.count);
    if (walk.is_leader() && c < walk.own_count) {
      if (b.grad_bias) b.grad_bias[walk.channel + c] = sums[c];
      if (b.grad_weight) b.grad_weight[walk.channel + c] = weight_sum;
    }
  }
  if (!b.grad_x) return;
  at = walk;
  visit<packs>(at, [&](int k, const Walk& at) { gradient.write(at, b, in[k]); });
}

template <typename T, typename Walk>
__device__ void write_all(Walk& walk, const Backward<T>& b, const InputGradient<T, Walk::own>& gradient) {
  constexpr int batch = 2;
  while (walk.left > 0) {
    Incoming<T, Walk::width> in[batch];
    Walk at = walk;
    visit<batch>(at, [&](int k, const Walk& at) { in[k].load(at, b); });
    visit<batch>(walk, [&](int k, const Walk& at) { gradient.write(at, b, in[k]); });
  }
}

// Gradients of channels beyond a block's registers; sums of each batch in T, of batches in double.
template <typename T, typename Walk>
__global__ void __launch_bounds__(channel_threads)
    backward_stream_kernel(const ChannelLayout layout, const Backward<T> b, SplitSums splits, unsigned* arrivals) {
  follow_earlier_kernels();
  constexpr int width = Walk::width, own = Walk::own, batch = 4;
  const Walk start(layout, blockIdx.x);
  InputGradient<T, own> gradient;
  gradient.load(start, b);
  double lanes[2][width] = {}, sums[2 * own];
  for (Walk walk = start; walk.left > 0;) {
    Incoming<T, width> in[batch];
    visit<batch>(walk, [&](int k, const Walk& at) { in[k].load(at, b); });
    T of_batch[2][width] = {};
#pragma unroll
    for (int k = 0; k < batch; ++k)
#pragma unroll
      for (int j = 0; j < width; ++j) {
        of_batch[0][j] += in[k].g.at[j];
        of_batch[1][j] += in[k].g.at[j] * (in[k].x.at[j] - gradient.center[j % own]);
      }
#pragma unroll
    for (int j = 0; j < width; ++j) {
      lanes[0][j] += (double)of_batch[0][j];
      lanes[1][j] += (double)of_batch[1][j];
    }
  }
  fold<own>(lanes[0], sums);
  fold<own>(lanes[1], sums + own);
  sum_threads(start, sums);

  auto finish = [&](int64_t channel, double bias_sum, double centered_sum, double inv_std) {
    if (b.grad_bias) b.grad_bias[channel] = T(bias_sum);
    if (b.grad_weight) b.grad_weight[channel] = T(inv_std * centered_sum);
  };
  if (layout.splits > 1) {
    if (!splits.leave(layout, start, sums, arrivals)) return;
    splits.for_channels<Walk>(layout, [&](int64_t channel, double bias_sum, double centered_sum) {
      const double inv_std = b.inv_std[channel];
      finish(channel, bias_sum, centered_sum, inv_std);
      splits.results(layout)[2 * channel] = bias_sum / b.count;
      splits.results(layout)[2 * channel + 1] = inv_std * inv_std * centered_sum / b.count;
    });
    return;
  }
#pragma unroll
  for (int c = 0; c < own; ++c) {
    const double inv_std = gradient.inv_std[c];
    gradient.level[c] = T(sums[c] / b.count);
    gradient.slope[c] = T(inv_std * inv_std * sums[own + c] / b.count);
    if (start.is_leader() && c < start.own_count) finish(start.channel + c, sums[c], sums[own + c], inv_std);
  }
  if (!b.grad_x) return;
  Walk walk = start;
  write_all(walk, b, gradient);
}

// grad_x from the level and slope that the kernel before left; blocks go backwards as in normalize_kernel.
template <typename T, typename Walk>
__global__ void __launch_bounds__(channel_threads)
    input_gradient_kernel(const ChannelLayout layout, const Backward<T> b, SplitSums splits) {
  follow_earlier_kernels();
  Walk walk(layout, gridDim.x - 1 - blockIdx.x);
  InputGradient<T, Walk::own> gradient;
  gradient.load(walk, b);
#pragma unroll
  for (int c = 0; c < Walk::own; ++c) {
    const double* results = splits.results(layout) + 2 * (walk.channel + c);
    gradient.level[c] = c < walk.own_count ? T(results[0]) : T(0);
    gradient.slope[c] = c < walk.own_count ? T(results[1]) : T(0);
  }
  write_all(walk, b, gradient);
}

// Layer norm's grad_bias = sum g, grad_weight = sum g * (x - mean) * inv_std over the rows, mean and inv_std by the
// row.
template <typename T, typename Walk>
__global__ void __launch_bounds__(channel_threads)
    parameter_gradient_kernel(const ChannelLayout layout, const Backward<T> b, SplitSums splits, unsigned* arrivals) {
  follow_earlier_kernels();
  constexpr int width = Walk::width, batch = 4;
  Walk walk(layout, blockIdx.x);
  double sums[2 * width] = {};
  while (walk.left > 0) {
    Incoming<T, width> in[batch];
    T mean[batch], inv_std[batch], of_batch[2][width] = {};
    visit<batch>(walk, [&](int k, const Walk& at) {
      in[k].load(at, b);
      mean[k] = at.left > 0 ? b.mean[at.row] : T(0);
      inv_std[k] = at.left > 0 ? b.inv_std[at.row] : T(0);
    });
#pragma unroll
    for (int k = 0; k < batch; ++k)
#pragma unroll
      for (int j = 0; j < width; ++j) {
        of_batch[0][j] += in[k].g.at[j];
        of_batch[1][j] += in[k].g.at[j] * ((in[k].x.at[j] - mean[k]) * inv_std[k]);
      }
#pragma unroll
    for (int j = 0; j < width; ++j) {
      sums[j] += (double)of_batch[0][j];
      sums[width + j] += (double)of_batch[1][j];
    }
  }
  sum_threads(walk, sums);

  auto finish = [&](int64_t column, double bias_sum, double weight_sum) {
    if (b.grad_bias) b.grad_bias[column] = T(bias_sum);
    if (b.grad_weight) b.grad_weight[column] = T(weight_sum);
  };
  if (layout.splits > 1) {
    if (splits.leave(layout, walk, sums, arrivals)) splits.for_channels<Walk>(layout, finish);
  } else if (walk.is_leader()) {
#pragma unroll
    for (int c = 0; c < width; ++c)
      if (c < walk.own_count) finish(walk.channel + c, sums[c], sums[width + c]);
  }
}

}  // namespace
}  // namespace MINIDL_TARGET
