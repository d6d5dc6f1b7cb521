// The forward kernels of batch norm and layer norm. A row of layer norm is a channel of batch norm with outer = 1,
// whose weight and bias go by the place in the row.
#pragma once
#include "channels.cuh"
#include "dropout.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
__device__ T inverse_root(T variance, T eps) {
  return T(1) / sqrt(variance + eps);
}

// 0 where the first value is no number to subtract
template <typename T>
__device__ T shift_from(T first) {
  return isfinite(first) ? first : T(0);
}

// array[channel] for the channels that a thread owns
template <typename T, typename Walk>
__device__ void load_own(const Walk& walk, const T* array, T absent, T (&values)[Walk::own]) {
#pragma unroll
  for (int c = 0; c < Walk::own; ++c) values[c] = absent;
  if (!array) return;
  if constexpr (Walk::own > 1) {
    const auto pack = read_pack<Walk::by_vectors>(array + walk.channel, walk.own_count);
#pragma unroll
    for (int c = 0; c < Walk::own; ++c) values[c] = pack.at[c];
  } else {
    if (walk.own_count > 0) values[0] = array[walk.channel];
  }
}

template <typename T>
struct Forward {
  const T *x, *weight, *bias;
  T *running_mean, *running_var, *out, *mean, *inv_std;
  bool is_layer_norm, is_relu;
  T keep, take, unbiased, eps, dropout_scale;
  double count;
  DropoutFactors<T> dropout;

  // Writes the statistics of a channel; keeps what out is made of in mean and var, which becomes inv_std.
  __device__ void finish(int64_t channel, T mean_of_channel, T var, T old_mean, T old_var) const {
    mean[channel] = mean_of_channel;
    inv_std[channel] = inverse_root(var, eps);
    if (running_mean) running_mean[channel] = keep * old_mean + take * mean_of_channel;
    if (running_var) running_var[channel] = keep * old_var + take * (var * unbiased);
  }
};

// out = (x - center) * scale + shift for the channels of a thread, read before the statistics are known.
template <typename T, int own>
struct Affine {
  T center[own], scale[own], shift[own];

  template <typename Walk>
  __device__ void load(const Walk& walk, const Forward<T>& f) {
    load_own(walk, f.is_layer_norm ? nullptr : f.weight, T(1), scale);
    load_own(walk, f.is_layer_norm ? nullptr : f.bias, T(0), shift);
  }
};

// out at one place of a walk
template <typename T, typename Walk>
__device__ void write_normalized(const Walk& at, const Forward<T>& f, const Affine<T, Walk::own>& affine,
                                 Pack<T, Walk::width> x, unsigned kept) {
  constexpr int width = Walk::width;
  Pack<T, width> weight, bias;
  if (f.is_layer_norm) {
    if (f.weight) weight = read_pack<Walk::by_vectors>(f.weight + at.position(), at.valid());
    if (f.bias) bias = read_pack<Walk::by_vectors>(f.bias + at.position(), at.valid());
  }
#pragma unroll
  for (int j = 0; j < width; ++j) {
    const int c = j % Walk::own;
    T value = (x.at[j] - affine.center[c]) * affine.scale[c] + affine.shift[c];
    if (f.is_layer_norm) value = (f.weight ? value * weight.at[j] : value) + (f.bias ? bias.at[j] : T(0));
    if (f.is_relu) value = value < 0 ? T(0) : value;
    x.at[j] = value * (kept >> j & 1 ? f.dropout_scale : T(0));
  }
  write_pack<Walk::by_vectors>(f.out + at.place(), x, at.valid());
}

// A bit for each lane of the pack at a place: whether dropout keeps it.
template <typename Walk, typename T>
__device__ unsigned kept_lanes(const DropoutFactors<T>& dropout, int64_t place) {
  constexpr int width = Walk::width;
  T factors[width];
  if (!dropout.ticket) return ~0u;
  if (Walk::by_vectors)
    dropout.template of_vector<width>(place, factors);
  else
#pragma unroll
    for (int j = 0; j < width; ++j) factors[j] = dropout.of_element(place + j);
  unsigned kept = 0;
#pragma unroll
  for (int j = 0; j < width; ++j) kept |= (factors[j] != 0 ? 1u : 0u) << j;
  return kept;
}

// One launch, one read: the packs of a thread stay in registers, mean and variance are those of two passes over them.
template <typename T, typename Walk, int packs>
__global__ void __launch_bounds__(channel_threads)
    forward_resident_kernel(const ChannelLayout layout, const Forward<T> f) {
  follow_earlier_kernels();
  constexpr int width = Walk::width, own = Walk::own;
  const Walk walk(layout, blockIdx.x);
  Pack<T, width> x[packs];
  Walk at = walk;
  visit<packs>(at, [&](int k, const Walk& at) { x[k] = read_pack<Walk::by_vectors>(f.x + at.place(), at.valid()); });
  T shift[own], old_mean[own], old_var[own];
#pragma unroll
  for (int c = 0; c < own; ++c) shift[c] = c < walk.own_count ? shift_from(f.x[walk.first_of_channel(c)]) : T(0);
  Affine<T, own> affine;
  affine.load(walk, f);
  // The leader's alone: nothing orders a read by others before its write.
  load_own(walk, walk.is_leader() ? f.running_mean : nullptr, T(0), old_mean);
  load_own(walk, walk.is_leader() ? f.running_var : nullptr, T(0), old_var);
  uint64_t kept = 0;  // drawn while the loads are under way
  at = walk;
  visit<packs>(at, [&](int k, const Walk& at) {
    kept |= (uint64_t)(kept_lanes<Walk>(f.dropout, at.place()) & ((1u << width) - 1)) << k * width;
  });

  T lanes[width] = {}, mean[own], squares[own];
  at = walk;
  visit<packs>(at, [&](int k, const Walk& at) {
#pragma unroll
    for (int j = 0; j < width; ++j)
      if (j < at.valid()) lanes[j] += x[k].at[j] - shift[j % own];
  });
  fold<own>(lanes, mean);
  sum_threads(walk, mean);
#pragma unroll
  for (int c = 0; c < own; ++c) mean[c] /= T(f.count);
#pragma unroll
  for (int j = 0; j < width; ++j) lanes[j] = 0;
  at = walk;
  visit<packs>(at, [&](int k, const Walk& at) {
#pragma unroll
    for (int j = 0; j < width; ++j) {
      const T deviation = (x[k].at[j] - shift[j % own]) - mean[j % own];
      if (j < at.valid()) lanes[j] += deviation * deviation;
    }
  });
  fold<own>(lanes, squares);
  sum_threads(walk, squares);
#pragma unroll
  for (int c = 0; c < own; ++c) {
    const T var = squares[c] / T(f.count);
    affine.center[c] = shift[c] + mean[c];
    affine.scale[c] *= inverse_root(var, f.eps);
    if (walk.is_leader() && c < walk.own_count)
      f.finish(walk.channel + c, affine.center[c], var, old_mean[c], old_var[c]);
  }
  at = walk;
  visit<packs>(at,
               [&](int k, const Walk& at) { write_normalized(at, f, affine, x[k], (unsigned)(kept >> k * width)); });
}

// Sums of d = x - shift and of d^2 for each lane. The squares of a batch are taken about its own mean, and what leads
// back to d is added in double: nothing cancels.
template <typename T, typename Walk>
struct LaneMoments {
  static constexpr int width = Walk::width, batch = 8;
  double sums[2][width] = {};

  __device__ void add(Walk& walk, const Forward<T>& f, const T (&shift)[Walk::own]) {
    Pack<T, width> x[batch];
    Walk at = walk;
    visit<batch>(at, [&](int k, const Walk& at) { x[k] = read_pack<Walk::by_vectors>(f.x + at.place(), at.valid()); });
    T sum[width] = {}, count[width] = {}, squares[width] = {}, pivot[width];
    at = walk;
    visit<batch>(at, [&](int k, const Walk& at) {
#pragma unroll
      for (int j = 0; j < width; ++j) {
        x[k].at[j] -= shift[j % Walk::own];
        if (j < at.valid()) sum[j] += x[k].at[j], count[j] += 1;
      }
    });
#pragma unroll
    for (int j = 0; j < width; ++j) pivot[j] = count[j] > 0 ? sum[j] / count[j] : T(0);
    visit<batch>(walk, [&](int k, const Walk& at) {
#pragma unroll
      for (int j = 0; j < width; ++j) {
        const T deviation = x[k].at[j] - pivot[j];
        if (j < at.valid()) squares[j] += deviation * deviation;
      }
    });
#pragma unroll
    for (int j = 0; j < width; ++j) {
      sums[0][j] += (double)sum[j];
      sums[1][j] += (double)squares[j] + (double)pivot[j] * (2 * (double)sum[j] - (double)count[j] * (double)pivot[j]);
    }
  }
};

template <typename T>
struct Moments {
  T mean, var;
};

// Of a channel, from the sums of x - shift and of its squares.
template <typename T>
__device__ Moments<T> moments_of(T shift, double sum, double squares, double count) {
  const double mean = sum / count, var = (squares - sum * mean) / count;
  return {T(shift + mean), T(var < 0 ? 0 : var)};
}

template <typename T, typename Walk>
__device__ void write_all(Walk& walk, const Forward<T>& f, const Affine<T, Walk::own>& affine) {
  constexpr int batch = 4;
  while (walk.left > 0) {
    Pack<T, Walk::width> x[batch];
    Walk at = walk;
    visit<batch>(at, [&](int k, const Walk& at) { x[k] = read_pack<Walk::by_vectors>(f.x + at.place(), at.valid()); });
    visit<batch>(walk, [&](int k, const Walk& at) {
      const unsigned kept = kept_lanes<Walk>(f.dropout, at.place());
      write_normalized(at, f, affine, x[k], kept);
    });
  }
}

// Statistics of channels beyond a block's registers; writes out, too, where a block has all of a channel.
template <typename T, typename Walk>
__global__ void __launch_bounds__(channel_threads)
    forward_stream_kernel(const ChannelLayout layout, const Forward<T> f, SplitSums splits, unsigned* arrivals) {
  follow_earlier_kernels();
  constexpr int own = Walk::own;
  const Walk start(layout, blockIdx.x);
  T shift[own];
#pragma unroll
  for (int c = 0; c < own; ++c) shift[c] = c < start.own_count ? shift_from(f.x[start.first_of_channel(c)]) : T(0);
  LaneMoments<T, Walk> lanes;
  for (Walk walk = start; walk.left > 0;) lanes.add(walk, f, shift);
  double sums[2 * own];
  fold<own>(lanes.sums[0], sums);
  fold<own>(lanes.sums[1], sums + own);
  sum_threads(start, sums);

  if (layout.splits > 1) {
    if (!splits.leave(layout, start, sums, arrivals)) return;
    splits.for_channels<Walk>(layout, [&](int64_t channel, double sum, double squares) {
      const T first = f.x[own > 1 ? channel : channel * layout.inner];
      const auto moments = moments_of(shift_from(first), sum, squares, f.count);
      f.finish(channel, moments.mean, moments.var, f.running_mean ? f.running_mean[channel] : T(0),
               f.running_var ? f.running_var[channel] : T(0));
    });
    return;
  }
  Affine<T, own> affine;
  affine.load(start, f);
#pragma unroll
  for (int c = 0; c < own; ++c) {
    const auto moments = moments_of(shift[c], sums[c], sums[own + c], f.count);
    affine.center[c] = moments.mean;
    affine.scale[c] *= inverse_root(moments.var, f.eps);
    const int64_t channel = start.channel + c;
    if (start.is_leader() && c < start.own_count)
      f.finish(channel, moments.mean, moments.var, f.running_mean ? f.running_mean[channel] : T(0),
               f.running_var ? f.running_var[channel] : T(0));
  }
  Walk walk = start;
  write_all(walk, f, affine);
}

// out from mean and inv_std or, where that is null, running_var. Blocks go backwards: what the statistics' kernel read
// last may still be in the cache.
template <typename T, typename Walk>
__global__ void __launch_bounds__(channel_threads, 2) normalize_kernel(const ChannelLayout layout, const Forward<T> f) {
  follow_earlier_kernels();
  Walk walk(layout, gridDim.x - 1 - blockIdx.x);
  Affine<T, Walk::own> affine;
  affine.load(walk, f);
  T spread[Walk::own];
  load_own(walk, (const T*)f.mean, T(0), affine.center);
  load_own(walk, (const T*)(f.inv_std ? f.inv_std : f.running_var), T(1), spread);
#pragma unroll
  for (int c = 0; c < Walk::own; ++c) affine.scale[c] *= f.inv_std ? spread[c] : inverse_root(spread[c], f.eps);
  write_all(walk, f, affine);
}

}  // namespace
}  // namespace MINIDL_TARGET
