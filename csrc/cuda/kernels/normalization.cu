// Batch norm over outer x channels x inner and layer norm over rows x columns, forward and backward: which kernel, with
// which blocks, takes which shape.
#include <algorithm>
#include <type_traits>
#include <utility>

#include "kernels.h"
#include "normalization_backward.cuh"
#include "normalization_forward.cuh"

namespace MINIDL_TARGET {

namespace {

// ---- which kernel

// What a kernel sees of x. Each channel is a column where neighbours in memory belong to different channels.
struct Shape {
  int64_t outer, channels, inner;
  bool has_columns;

  static Shape of_batch_norm(int64_t outer, int64_t channels, int64_t inner) {
    if (channels == 1) return {1, 1, outer * inner, false};
    return {outer, channels, inner, inner == 1};
  }
  static Shape of_layer_norm(int64_t rows, int64_t columns) { return {1, rows, columns, false}; }
  // No packs reach beyond a row, or a plane.
  template <typename T>
  bool has_packs() const {
    return (has_columns ? channels : inner) % pack_width<T> == 0;
  }
};

// Channels that fit a block's registers, `most` packs for each thread. A row of a tile is 32 bytes, a sector of the L2
// cache, so that a layer of a perceptron fills many multiprocessors; up to 128 where these are full all the same.
template <typename Walk>
ChannelLayout resident_columns(Shape shape, int most) {
  auto layout = [&](int pack_bits) { return Walk::layout(shape.outer, shape.channels, 1, pack_bits); };
  int pack_bits = 1;
  while (pack_bits < 3 && layout(pack_bits + 1).tiles >= stream_blocks &&
         shape.outer <= most * Walk::items_at_once(layout(pack_bits + 1)))
    ++pack_bits;
  return layout(pack_bits);
}

// Channels read as a stream: blocks of at least 8 packs for each thread, with rows as wide as leaves enough of them.
template <typename Walk>
ChannelLayout stream_layout(Shape shape) {
  constexpr int64_t packs = 8;
  int pack_bits = shape.has_columns ? 5 : 0;
  ChannelLayout layout = Walk::layout(shape.outer, shape.channels, shape.inner, pack_bits);
  auto most_splits = [&] { return divide_up(layout.items, packs * Walk::items_at_once(layout)); };
  while (pack_bits > 1 &&
         (layout.channels <= (int64_t)Walk::width << (pack_bits - 1) || layout.tiles * most_splits() < multiprocessors))
    layout = Walk::layout(shape.outer, shape.channels, shape.inner, --pack_bits);
  layout.split(std::min(most_splits(), stream_blocks / layout.tiles));
  return layout;
}
// Blocks that share channels are few: their counters and sums have room. A channel has two sums and two results.
static_assert(stream_blocks <= arrival_count);
static_assert(stream_blocks * warp_threads * pack_width<float> * 4 * sizeof(double) <= scratch_bytes);

template <typename T>
using Walk = std::type_identity<T>;

// Calls with_packs(number of packs) for the smallest number that holds a thread's share of the items; false if none
// does.
template <int... packs, typename WithPacks>
bool choose_packs(int64_t items, int64_t at_once, std::integer_sequence<int, packs...>, WithPacks with_packs) {
  return ((items <= packs * at_once && (with_packs(std::integral_constant<int, packs>()), true)) || ...);
}

// Calls resident(walk, layout, number of packs) for channels that fit a block's registers, else over_stream(walk,
// layout).
template <typename T, bool by_vectors, typename Resident, typename OverStream>
void choose_walk(Shape shape, Resident resident, OverStream over_stream) {
  using Packs = std::conditional_t<by_vectors, std::integer_sequence<int, 1, 4, 8>, std::integer_sequence<int, 8>>;
  using ByColumn = Columns<T, by_vectors>;
  using ByWarp = Planes<T, warp_threads, by_vectors>;
  using ByBlock = Planes<T, channel_threads, by_vectors>;
  auto try_resident = [&]<typename W>(Walk<W> walk, const ChannelLayout& layout) {
    return choose_packs(layout.items, W::items_at_once(layout), Packs(),
                        [&](auto packs) { resident(walk, layout, packs); });
  };
  if (shape.has_columns) {
    if (!try_resident(Walk<ByColumn>(), resident_columns<ByColumn>(shape, 8)))
      over_stream(Walk<ByColumn>(), stream_layout<ByColumn>(shape));
    return;
  }
  // A warp for a channel where these fill the GPU, or where a block would have nothing to share.
  const ChannelLayout warps = ByWarp::layout(shape.outer, shape.channels, shape.inner, 0);
  const bool has_warps = warps.tiles >= multiprocessors || warps.items <= warp_threads;
  if (has_warps && try_resident(Walk<ByWarp>(), warps)) return;
  if (!try_resident(Walk<ByBlock>(), ByBlock::layout(shape.outer, shape.channels, shape.inner, 0)))
    over_stream(Walk<ByBlock>(), stream_layout<ByBlock>(shape));
}

template <typename T, typename Resident, typename OverStream>
void choose_kernel(Shape shape, bool has_aligned_arrays, Resident resident, OverStream over_stream) {
  if (shape.channels == 0) return;
  if (has_aligned_arrays && shape.has_packs<T>())
    choose_walk<T, true>(shape, resident, over_stream);
  else
    choose_walk<T, false>(shape, resident, over_stream);
}

template <typename T>
void launch_forward(Stream stream, const Forward<T>& f, Shape shape) {
  choose_kernel<T>(
      shape, is_aligned(pack_bytes, f.x, f.out, f.weight, f.bias, f.running_mean, f.running_var, f.mean, f.inv_std),
      [&]<typename W>(Walk<W>, const ChannelLayout& layout, auto packs) {
        launch(stream, layout.tiles, channel_threads, forward_resident_kernel<T, W, packs()>, layout, f);
      },
      [&]<typename W>(Walk<W>, const ChannelLayout& layout) {
        launch(stream, layout.blocks(), channel_threads, forward_stream_kernel<T, W>, layout, f,
               SplitSums{(double*)stream.scratch}, stream.arrivals);
        if (layout.splits > 1) launch(stream, layout.blocks(), channel_threads, normalize_kernel<T, W>, layout, f);
      });
}

template <typename T>
void launch_backward(Stream stream, const Backward<T>& b, Shape shape) {
  choose_kernel<T>(
      shape, is_aligned(pack_bytes, b.x, b.out, b.grad_out, b.grad_x, b.weight, b.mean, b.inv_std),
      [&]<typename W>(Walk<W>, const ChannelLayout& layout, auto packs) {
        launch(stream, layout.tiles, channel_threads, backward_resident_kernel<T, W, packs()>, layout, b);
      },
      [&]<typename W>(Walk<W>, const ChannelLayout& layout) {
        const SplitSums splits{(double*)stream.scratch};
        launch(stream, layout.blocks(), channel_threads, backward_stream_kernel<T, W>, layout, b, splits,
               stream.arrivals);
        if (layout.splits > 1 && b.grad_x)
          launch(stream, layout.blocks(), channel_threads, input_gradient_kernel<T, W>, layout, b, splits);
      });
}

// ---- batch norm

template <typename T>
void batch_norm_forward_training(Stream stream, const T* x, const T* weight, const T* bias, const int64_t* ticket,
                                 T* running_mean, T* running_var, T* out, T* mean, T* inv_std, int64_t outer,
                                 int64_t channels, int64_t inner, double momentum, double eps, Activation activation,
                                 double p) {
  const int64_t count = outer * inner;
  if (count == 0) return;
  const DropoutFactors<T> dropout(ticket, p);
  const Forward<T> f{
      .x = x,
      .weight = weight,
      .bias = bias,
      .running_mean = running_mean,
      .running_var = running_var,
      .out = out,
      .mean = mean,
      .inv_std = inv_std,
      .is_layer_norm = false,
      .is_relu = activation == Activation::relu,
      .keep = T(1 - momentum),
      .take = T(momentum),
      .unbiased = count > 1 ? T(count) / T(count - 1) : T(1),
      .eps = T(eps),
      .dropout_scale = ticket ? dropout.scale : T(1),
      .count = (double)count,
      .dropout = dropout,
  };
  launch_forward(stream, f, Shape::of_batch_norm(outer, channels, inner));
}

template <typename T>
void batch_norm_forward_evaluation(Stream stream, const T* x, const T* weight, const T* bias, const T* running_mean,
                                   const T* running_var, T* out, int64_t outer, int64_t channels, int64_t inner,
                                   double eps) {
  if (outer * channels * inner == 0) return;
  const Forward<T> f{
      .x = x,
      .weight = weight,
      .bias = bias,
      .running_mean = nullptr,
      .running_var = const_cast<T*>(running_var),
      .out = out,
      .mean = const_cast<T*>(running_mean),
      .inv_std = nullptr,
      .is_layer_norm = false,
      .is_relu = false,
      .keep = 0,
      .take = 0,
      .unbiased = 0,
      .eps = T(eps),
      .dropout_scale = 1,
      .count = 0,
      .dropout = DropoutFactors<T>(nullptr, 0),
  };
  const Shape shape = Shape::of_batch_norm(outer, channels, inner);
  auto launch_over = [&]<typename W>(Walk<W>) {
    const ChannelLayout layout = stream_layout<W>(shape);
    launch(stream, layout.blocks(), channel_threads, normalize_kernel<T, W>, layout, f);
  };
  auto choose = [&]<bool by_vectors>(std::bool_constant<by_vectors>) {
    if (shape.has_columns)
      launch_over(Walk<Columns<T, by_vectors>>());
    else
      launch_over(Walk<Planes<T, channel_threads, by_vectors>>());
  };
  if (is_aligned(pack_bytes, x, out, weight, bias, running_mean, running_var) && shape.has_packs<T>())
    choose(std::true_type());
  else
    choose(std::false_type());
}

template <typename T>
void batch_norm_backward(Stream stream, const T* x, const T* weight, const T* mean, const T* inv_std, const T* out,
                         const T* grad_out, T* grad_x, T* grad_weight, T* grad_bias, int64_t outer, int64_t channels,
                         int64_t inner, double scale) {
  const Backward<T> b{x,      weight,      mean,      inv_std, out,      grad_out,
                      grad_x, grad_weight, grad_bias, false,   T(scale), (double)(outer * inner)};
  const Shape no_rows{0, channels, 1, true};  // whose sums are 0
  launch_backward(stream, b, outer * inner > 0 ? Shape::of_batch_norm(outer, channels, inner) : no_rows);
}

// ---- layer norm

template <typename T>
void layer_norm_forward(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* inv_std,
                        int64_t rows, int64_t columns, double eps) {
  if (columns == 0) return;
  const Forward<T> f{
      .x = x,
      .weight = weight,
      .bias = bias,
      .running_mean = nullptr,
      .running_var = nullptr,
      .out = out,
      .mean = mean,
      .inv_std = inv_std,
      .is_layer_norm = true,
      .is_relu = false,
      .keep = 0,
      .take = 0,
      .unbiased = 0,
      .eps = T(eps),
      .dropout_scale = 1,
      .count = (double)columns,
      .dropout = DropoutFactors<T>(nullptr, 0),
  };
  launch_forward(stream, f, Shape::of_layer_norm(rows, columns));
}

template <typename T>
void layer_norm_backward(Stream stream, const T* x, const T* weight, const T* mean, const T* inv_std, const T* grad_out,
                         T* grad_x, T* grad_weight, T* grad_bias, int64_t rows, int64_t columns) {
  if (columns == 0) return;
  Backward<T> b{x, weight, mean, inv_std, nullptr, grad_out, grad_x, nullptr, nullptr, true, T(1), (double)columns};
  if (grad_x) launch_backward(stream, b, Shape::of_layer_norm(rows, columns));
  if (!grad_weight && !grad_bias) return;
  b.weight = nullptr;
  b.grad_weight = grad_weight;
  b.grad_bias = grad_bias;
  const Shape shape{rows, columns, 1, true};
  auto launch_over = [&]<typename W>(Walk<W>) {
    const ChannelLayout layout = stream_layout<W>(shape);
    launch(stream, layout.blocks(), channel_threads, parameter_gradient_kernel<T, W>, layout, b,
           SplitSums{(double*)stream.scratch}, stream.arrivals);
  };
  if (is_aligned(pack_bytes, x, grad_out) && shape.has_packs<T>())
    launch_over(Walk<Columns<T, true>>());
  else
    launch_over(Walk<Columns<T, false>>());
}

}  // namespace
EXPORT(batch_norm_forward_training)
EXPORT(batch_norm_forward_evaluation)
EXPORT(batch_norm_backward)
EXPORT(layer_norm_forward)
EXPORT(layer_norm_backward)

}  // namespace MINIDL_TARGET
