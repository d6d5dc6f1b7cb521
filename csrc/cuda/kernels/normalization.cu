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

// ---- layouts

// Channels whose packs fit a block's registers, `packs` for each thread. A row of a tile is 32 bytes, a sector of the
// L2 cache, so that a layer of a perceptron fills many multiprocessors; up to 128 where these are full all the same.
template <typename T>
ChannelLayout resident_columns(int64_t outer, int64_t channels, int packs, bool aligned) {
  int pack_bits = 1;
  auto layout = [&](int bits) { return Columns<T>::layout(outer, channels, 1, bits, aligned); };
  while (pack_bits < 3 && layout(pack_bits + 1).tiles >= stream_blocks &&
         outer <= packs * Columns<T>::items_at_once(layout(pack_bits + 1)))
    ++pack_bits;
  return layout(pack_bits);
}

// Channels read as a stream, in blocks of at least 8 packs for each thread, with rows as wide as leaves blocks enough.
template <typename T>
ChannelLayout stream_columns(int64_t outer, int64_t channels, bool aligned) {
  for (int pack_bits = 5;; --pack_bits) {
    ChannelLayout layout = Columns<T>::layout(outer, channels, 1, pack_bits, aligned);
    const int64_t most = divide_up(outer, 8 * Columns<T>::items_at_once(layout));
    const bool is_wide = channels <= (int64_t)pack_width<T> << (pack_bits - 1);
    if (pack_bits > 1 && (is_wide || layout.tiles * most < multiprocessors)) continue;
    const int64_t wanted = stream_blocks / layout.tiles;
    layout.split(wanted < most ? wanted : most);
    return layout;
  }
}

template <typename T>
ChannelLayout stream_planes(int64_t outer, int64_t channels, int64_t inner, bool aligned) {
  using Walk = Planes<T, channel_threads>;
  ChannelLayout layout = Walk::layout(outer, channels, inner, 0, aligned);
  const int64_t most = divide_up(layout.items, 8 * channel_threads), wanted = stream_blocks / layout.tiles;
  layout.split(wanted < most ? wanted : most);
  return layout;
}

// Calls with_packs(number of packs) for the smallest number that holds a thread's share of the items; false if none
// does.
template <int... packs, typename WithPacks>
bool choose_packs(int64_t items, int64_t at_once, std::integer_sequence<int, packs...>, WithPacks with_packs) {
  return ((items <= packs * at_once && (with_packs(std::integral_constant<int, packs>()), true)) || ...);
}

// What a kernel sees of x. Each channel is a column where neighbours in memory belong to different channels.
struct Shape {
  int64_t outer, channels, inner;
  bool has_columns;

  static Shape of_batch_norm(int64_t outer, int64_t channels, int64_t inner) {
    if (channels == 1) return {1, 1, outer * inner, false};
    return {outer, channels, inner, inner == 1};
  }
  static Shape of_layer_norm(int64_t rows, int64_t columns) { return {1, rows, columns, false}; }
};

// Calls resident(walk, layout, number of packs) for channels that fit a block's registers, else stream(walk, layout).
template <typename T, int... packs, typename Resident, typename StreamOver>
void choose_kernel(Shape shape, bool aligned, std::integer_sequence<int, packs...> sizes, Resident resident,
                   StreamOver stream_over) {
  constexpr int most = std::max({packs...});
  const auto [outer, channels, inner, has_columns] = shape;
  if (channels == 0) return;
  auto try_resident = [&](auto walk, const ChannelLayout& layout) {
    return choose_packs(layout.items, decltype(walk)::type::items_at_once(layout), sizes,
                        [&](auto count) { resident(walk, layout, count); });
  };
  if (has_columns) {
    if (!try_resident(std::type_identity<Columns<T>>(), resident_columns<T>(outer, channels, most, aligned)))
      stream_over(std::type_identity<Columns<T>>(), stream_columns<T>(outer, channels, aligned));
    return;
  }
  using Warp = Planes<T, warp_threads>;
  using Block = Planes<T, channel_threads>;
  const ChannelLayout warps = Warp::layout(outer, channels, inner, 0, aligned);
  const bool has_warps = warps.tiles >= multiprocessors || warps.items <= warp_threads;
  if (has_warps && try_resident(std::type_identity<Warp>(), warps)) return;
  if (!try_resident(std::type_identity<Block>(), Block::layout(outer, channels, inner, 0, aligned)))
    stream_over(std::type_identity<Block>(), stream_planes<T>(outer, channels, inner, aligned));
}

// ---- launches

template <typename T>
void launch_forward(Stream stream, const Forward<T>& f, Shape shape) {
  const bool aligned =
      is_aligned(pack_bytes, f.x, f.out, f.weight, f.bias, f.running_mean, f.running_var, f.mean, f.inv_std);
  choose_kernel<T>(
      shape, aligned, std::integer_sequence<int, 1, 4, 8>(),
      [&](auto walk, const ChannelLayout& layout, auto packs) {
        using Walk = typename decltype(walk)::type;
        launch(stream, layout.tiles, channel_threads, forward_resident_kernel<T, Walk, packs()>, layout, f);
      },
      [&](auto walk, const ChannelLayout& layout) {
        using Walk = typename decltype(walk)::type;
        launch(stream, layout.blocks(), channel_threads, forward_stream_kernel<T, Walk>, layout, f,
               SplitSums{(double*)stream.scratch}, stream.arrivals);
        if (layout.splits > 1) launch(stream, layout.blocks(), channel_threads, normalize_kernel<T, Walk>, layout, f);
      });
}

template <typename T>
void launch_backward(Stream stream, const Backward<T>& b, Shape shape) {
  const bool aligned = is_aligned(pack_bytes, b.x, b.out, b.grad_out, b.grad_x, b.weight, b.mean, b.inv_std);
  choose_kernel<T>(
      shape, aligned, std::integer_sequence<int, 1, 4, 8>(),
      [&](auto walk, const ChannelLayout& layout, auto packs) {
        using Walk = typename decltype(walk)::type;
        launch(stream, layout.tiles, channel_threads, backward_resident_kernel<T, Walk, packs()>, layout, b);
      },
      [&](auto walk, const ChannelLayout& layout) {
        using Walk = typename decltype(walk)::type;
        const SplitSums splits{(double*)stream.scratch};
        launch(stream, layout.blocks(), channel_threads, backward_stream_kernel<T, Walk>, layout, b, splits,
               stream.arrivals);
        if (layout.splits > 1 && b.grad_x)
          launch(stream, layout.blocks(), channel_threads, input_gradient_kernel<T, Walk>, layout, b, splits);
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
  const bool aligned = is_aligned(pack_bytes, x, out, weight, bias, running_mean, running_var);
  const Shape shape = Shape::of_batch_norm(outer, channels, inner);
  if (shape.has_columns) {
    const ChannelLayout layout = stream_columns<T>(outer, channels, aligned);
    launch(stream, layout.blocks(), channel_threads, normalize_kernel<T, Columns<T>>, layout, f);
  } else {
    const ChannelLayout layout = stream_planes<T>(shape.outer, shape.channels, shape.inner, aligned);
    launch(stream, layout.blocks(), channel_threads, normalize_kernel<T, Planes<T, channel_threads>>, layout, f);
  }
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
  const ChannelLayout layout = stream_columns<T>(rows, columns, is_aligned(pack_bytes, x, grad_out));
  launch(stream, layout.blocks(), channel_threads, parameter_gradient_kernel<T>, layout, b,
         SplitSums{(double*)stream.scratch}, stream.arrivals);
}

}  // namespace
EXPORT(batch_norm_forward_training)
EXPORT(batch_norm_forward_evaluation)
EXPORT(batch_norm_backward)
EXPORT(layer_norm_forward)
EXPORT(layer_norm_backward)

}  // namespace MINIDL_TARGET
