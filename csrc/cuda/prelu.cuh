// PReLU: a slope per channel, whose gradient is a sum over the channel.
#pragma once
#include "elementwise.cuh"
#include "kernels.h"
#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

template <typename T>
struct Prelu {
  __device__ T operator()(T x, T slope) const { return x > T(0) ? x : slope * x; }
  // grad_x, and through share what the element adds to the gradient of the slope
  __device__ T operator()(T x, T slope, T grad, T& share) const {
    share = x > T(0) ? T(0) : grad * x;
    return x > T(0) ? grad : slope * grad;
  }
};
template <typename T>
void prelu_forward(Stream stream, const T* x, const T* weight, T* out, int64_t outer, int64_t channels, int64_t inner) {
  Strided<2> layout{3, {outer, channels, inner}, {{channels * inner, inner, 1}, {0, 1, 0}}};
  if (inner == 1) layout = {2, {outer, channels}, {{channels, 1}, {0, 1}}};
  map_broadcast(stream, layout, out, Prelu<T>{}, x, weight);
}

// The sum over the elements of a channel is split among blocks. The last one adds their results up, in their order.
// 8 blocks per multiprocessor even out their ends (reasoned, not measured). A thread asks for 8 packs before it waits
// for the first, and adds up what it made of them in T; these sums are added in double, so that long ones stay exact.
constexpr int sum_threads = 256, sum_blocks = 8 * multiprocessors, sum_unroll = 4;

inline int64_t splits_for(int64_t parts, int64_t rounds) {
  const int64_t wanted = sum_blocks / parts;
  return wanted < 1 || rounds < 1 ? 1 : wanted < rounds ? wanted : rounds;
}

// Channels of many neighbouring elements: inner packs, outer times; one channel and split per block.
template <int width, typename T>
__global__ void __launch_bounds__(sum_threads)
    prelu_backward_kernel(const T* x, const T* weight, const T* grad_out, T* grad_x, T* grad_weight, int64_t outer,
                          int64_t channels, int64_t inner, int splits, double* partial, unsigned* arrivals) {
  follow_earlier_kernels();
  const int64_t channel = blockIdx.x / splits, split = blockIdx.x % splits;
  const int64_t packs = outer * inner, begin = packs * split / splits, end = packs * (split + 1) / splits;
  const T slope = weight[channel];
  // Counted on, not divided out: pack n of the channel stands at i of its row o.
  int64_t n = begin + threadIdx.x, i = n % inner, place = (n / inner * channels + channel) * inner + i;
  const int64_t step_i = sum_threads % inner, row = channels * inner, step = sum_threads / inner * row + step_i;
  double sum = 0;
  for (; n < end; n += sum_unroll * sum_threads) {
    Pack<T, width> values[sum_unroll], grads[sum_unroll];
    int64_t places[sum_unroll];
#pragma unroll
    for (int k = 0; k < sum_unroll; ++k) {
      places[k] = place * width;
      const int64_t left = n + k * sum_threads < end ? width : 0;
      values[k] = load_pack<width>(x + places[k], left);
      grads[k] = load_pack<width>(grad_out + places[k], left);
      const bool wraps = i + step_i >= inner;
      i += wraps ? step_i - inner : step_i;
      place += wraps ? step + row - inner : step;
    }
    T sum_of_packs = 0;
#pragma unroll
    for (int k = 0; k < sum_unroll; ++k) {
#pragma unroll
      for (int j = 0; j < width; ++j) {
        T share;
        grads[k].at[j] = Prelu<T>{}(values[k].at[j], slope, grads[k].at[j], share);
        sum_of_packs += share;
      }
      store_pack(grad_x + places[k], grads[k], n + k * sum_threads < end ? width : 0);
    }
    sum += sum_of_packs;
  }
  sum = block_reduce<sum_threads>(sum, Sum{});
  if (splits > 1) {
    if (threadIdx.x == 0) partial[channel * splits + split] = sum;
    if (!arrives_last(arrivals + channel, splits)) return;
    sum = 0;
    for (int s = threadIdx.x; s < splits; s += sum_threads) sum += partial[channel * splits + s];
    sum = block_reduce<sum_threads>(sum, Sum{});
  }
  if (threadIdx.x == 0) grad_weight[channel] = (T)sum;
}

// Channels side by side, inner = 1: a warp reads 32 of them in a row of x, a block every 8th row of its split.
template <typename T>
__global__ void __launch_bounds__(sum_threads)
    prelu_backward_columns_kernel(const T* x, const T* weight, const T* grad_out, T* grad_x, T* grad_weight,
                                  int64_t rows, int64_t channels, int splits, double* partial, unsigned* arrivals) {
  follow_earlier_kernels();
  constexpr int warps = sum_threads / warp_threads;
  SHARED(double, sums, [warps][warp_threads]);
  const int lane = threadIdx.x % warp_threads, warp = threadIdx.x / warp_threads;
  const int64_t strip = blockIdx.x / splits, split = blockIdx.x % splits, channel = strip * warp_threads + lane;
  const bool is_inside = channel < channels;
  const int64_t end = is_inside ? rows * (split + 1) / splits : 0;
  const T slope = is_inside ? weight[channel] : T(0);
  double sum = 0;
  for (int64_t i = rows * split / splits + warp; i < end; i += sum_unroll * warps) {
    T values[sum_unroll] = {}, grads[sum_unroll] = {};
#pragma unroll
    for (int k = 0; k < sum_unroll; ++k) {
      const int64_t place = (i + k * warps) * channels + channel;
      if (i + k * warps < end) values[k] = x[place], grads[k] = grad_out[place];
    }
    T sum_of_rows = 0;
#pragma unroll
    for (int k = 0; k < sum_unroll; ++k) {
      T share;
      const T grad = Prelu<T>{}(values[k], slope, grads[k], share);
      if (i + k * warps < end) grad_x[(i + k * warps) * channels + channel] = grad;
      sum_of_rows += share;
    }
    sum += sum_of_rows;
  }
  auto add_warps = [&] {
    __syncthreads();
    sums[warp][lane] = sum;
    __syncthreads();
    sum = 0;
    for (int w = 0; w < warps; ++w) sum += sums[w][lane];
  };
  add_warps();
  if (splits > 1) {
    if (warp == 0 && is_inside) partial[split * channels + channel] = sum;
    if (!arrives_last(arrivals + strip, splits)) return;
    sum = 0;
    for (int s = warp; s < splits && is_inside; s += warps) sum += partial[s * channels + channel];
    add_warps();
  }
  if (warp == 0 && is_inside) grad_weight[channel] = (T)sum;
}

template <typename T>
void prelu_backward(Stream stream, const T* x, const T* weight, const T* grad_out, T* grad_x, T* grad_weight,
                    int64_t outer, int64_t channels, int64_t inner) {
  double* partial = (double*)stream.scratch;
  if (channels == 1) inner *= outer, outer = 1;
  if (inner == 0) inner = pack_width<T>, outer = 0;  // a sum over nothing; nothing divides by 0
  if (inner == 1 && channels > 1) {
    const int64_t strips = divide_up(channels, warp_threads);
    const int64_t splits = splits_for(strips, outer / (sum_unroll * sum_threads / warp_threads));
    return launch(stream, strips * splits, sum_threads, prelu_backward_columns_kernel<T>, x, weight, grad_out, grad_x,
                  grad_weight, outer, channels, splits, partial, stream.arrivals);
  }
  auto launch_rows = [&](auto width, auto kernel) {
    const int64_t splits = splits_for(channels, outer * inner / (sum_unroll * sum_threads * width()));
    launch(stream, channels * splits, sum_threads, kernel, x, weight, grad_out, grad_x, grad_weight, outer, channels,
           inner / width(), splits, partial, stream.arrivals);
  };
  constexpr int width = pack_width<T>;
  if (inner % width == 0 && is_aligned(pack_bytes, x, grad_out, grad_x))
    launch_rows(std::integral_constant<int, width>(), prelu_backward_kernel<width, T>);
  else
    launch_rows(std::integral_constant<int, 1>(), prelu_backward_kernel<1, T>);
}

}  // namespace
}  // namespace MINIDL_TARGET
