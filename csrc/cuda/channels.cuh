// How the threads of a block walk the channels of outer x channels x inner, a pack at a time, and sum over each.
#pragma once
#include "packs.cuh"
#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

constexpr int thread_bits = 8;
constexpr int channel_threads = 1 << thread_bits;
// Blocks of a kernel that reads an array as a stream: 4 of them, at 64 registers per thread, fill a multiprocessor.
constexpr int64_t stream_blocks = 4 * multiprocessors;

// Which blocks and threads take what. The channels of a block are a tile; `splits` blocks share a tile.
struct ChannelLayout {
  int64_t channels, inner;
  int64_t items;      // packs of a channel, or rows
  int64_t per_split;  // items of a block
  int64_t plane_packs;
  int64_t tiles;
  int splits;
  int pack_bits;  // log2 of the packs that lie side by side in a tile's row

  void split(int64_t count) {
    splits = (int)(count < 1 ? 1 : count);
    per_split = divide_up(items, splits);
  }
  int64_t blocks() const { return tiles * splits; }
};

// inner = 1: each thread has a pack of neighbouring channels, and takes it from every slot-th row of the block.
template <typename T, bool vectors>
struct Columns {
  static constexpr bool by_vectors = vectors;
  static constexpr int width = pack_width<T>;
  static constexpr int own = width;  // channels of one thread
  static constexpr int max_packs = warp_threads;
  static constexpr bool is_within_warp = false;

  int64_t channel, row;
  int packs, left, slots;
  int64_t offset, step;
  int own_count;  // those that exist

  // outer rows in tiles of 2^pack_bits packs
  static ChannelLayout layout(int64_t outer, int64_t channels, int64_t, int pack_bits) {
    ChannelLayout result{channels, 1, outer, outer, 0, 0, 1, pack_bits};
    result.tiles = divide_up(channels, (int64_t)width << pack_bits);
    return result;
  }
  static int64_t items_at_once(const ChannelLayout& layout) { return channel_threads >> layout.pack_bits; }

  __device__ Columns(const ChannelLayout& layout, unsigned block)
      : packs(1 << layout.pack_bits), slots(channel_threads >> layout.pack_bits) {
    const unsigned tile = block / layout.splits, split = block % layout.splits;
    channel = (((int64_t)tile << layout.pack_bits) + (threadIdx.x & (packs - 1))) * width;
    const int64_t exist = layout.channels - channel;
    own_count = exist < 0 ? 0 : exist < width ? (int)exist : width;
    const int64_t begin = split * layout.per_split;
    const int64_t end = begin + layout.per_split < layout.items ? begin + layout.per_split : layout.items;
    row = begin + (threadIdx.x >> layout.pack_bits);
    left = row < end && own_count > 0 ? (int)((end - row + slots - 1) >> (thread_bits - layout.pack_bits)) : 0;
    offset = row * layout.channels + channel;
    step = slots * layout.channels;
  }
  __device__ void advance() {
    --left;
    row += slots;
    offset += step;
  }
  __device__ int valid() const { return left > 0 ? (by_vectors ? width : own_count) : 0; }
  __device__ int64_t place() const { return offset; }
  __device__ int64_t position() const { return channel; }
  __device__ int64_t first_of_channel(int own) const { return channel + own; }
  __device__ bool is_leader() const { return (int)threadIdx.x < packs; }
};

// Any inner: `threads` threads take the packs of one channel, plane by plane; a plane's last pack may not be full.
template <typename T, int threads, bool vectors>
struct Planes {
  static constexpr bool by_vectors = vectors;
  static constexpr int width = pack_width<T>;
  static constexpr int own = 1;
  static constexpr int max_packs = 1, packs = 1;
  static constexpr bool is_within_warp = threads == warp_threads;
  static constexpr int channels_per_block = channel_threads / threads;

  int64_t channel, inner, plane_packs, plane, plane_step, pack;
  int left, own_count;
  int64_t pack_step, planes_step;

  static ChannelLayout layout(int64_t outer, int64_t channels, int64_t inner, int) {
    const int64_t plane_packs = divide_up(inner, width), items = outer * plane_packs;
    return {channels, inner, items, items, plane_packs, divide_up(channels, channels_per_block), 1, 0};
  }
  static int64_t items_at_once(const ChannelLayout&) { return threads; }

  __device__ Planes(const ChannelLayout& layout, unsigned block)
      : inner(layout.inner), plane_packs(layout.plane_packs), plane_step(layout.channels * layout.inner) {
    const unsigned tile = block / layout.splits, split = block % layout.splits;
    channel = (int64_t)tile * channels_per_block + threadIdx.x / threads;
    own_count = channel < layout.channels ? 1 : 0;
    const int64_t begin = split * layout.per_split;
    const int64_t end = begin + layout.per_split < layout.items ? begin + layout.per_split : layout.items;
    const int64_t item = begin + threadIdx.x % threads;
    left = item < end && own_count > 0 ? (int)((end - item + threads - 1) / threads) : 0;
    const int64_t outer = item / plane_packs;
    pack = item - outer * plane_packs;
    plane = outer * plane_step + channel * inner;
    pack_step = threads % plane_packs;
    planes_step = threads / plane_packs * plane_step;
  }
  __device__ void advance() {
    --left;
    pack += pack_step;
    plane += planes_step;
    if (pack >= plane_packs) {
      pack -= plane_packs;
      plane += plane_step;
    }
  }
  __device__ int64_t position() const { return pack * width; }
  __device__ int64_t place() const { return plane + pack * width; }
  __device__ int valid() const {
    if (by_vectors) return left > 0 ? width : 0;
    const int64_t rest = inner - pack * width;
    return left > 0 ? (rest < width ? (int)rest : width) : 0;
  }
  __device__ int64_t first_of_channel(int) const { return channel * inner; }
  __device__ bool is_leader() const { return threadIdx.x % threads == 0; }
};

// Calls body(k, walk) for the next `count` packs of a walk.
template <int count, typename Walk, typename Body>
__device__ void visit(Walk& walk, Body body) {
#pragma unroll
  for (int k = 0; k < count; ++k) {
    body(k, walk);
    walk.advance();
  }
}

// Of the lanes of a pack, those of each channel that a thread owns, added up.
template <int own, typename S, int width>
__device__ void fold(const S (&lanes)[width], S* channels) {
  if constexpr (own == width) {
#pragma unroll
    for (int j = 0; j < width; ++j) channels[j] = lanes[j];
  } else if constexpr (width == 2) {
    channels[0] = lanes[0] + lanes[1];
  } else {
    channels[0] = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
  }
}

// Adds up each value over the threads that share a channel; all of them get the sums, in one order.
template <typename Walk, typename S, int count>
__device__ void sum_threads(const Walk& walk, S (&values)[count]) {
#pragma unroll
  for (int distance = warp_threads / 2; distance > 0; distance /= 2) {
    if (distance < walk.packs) break;
#pragma unroll
    for (int v = 0; v < count; ++v) values[v] += __shfl_xor_sync(whole_warp, values[v], distance);
  }
  if constexpr (!Walk::is_within_warp) {
    constexpr int warps = channel_threads / warp_threads;
    SHARED(S, of_warp, [count][warps][Walk::max_packs]);
    const int pack = threadIdx.x & (walk.packs - 1), lane = threadIdx.x % warp_threads;
    __syncthreads();  // an earlier use of of_warp is over
    if (lane < walk.packs)
#pragma unroll
      for (int v = 0; v < count; ++v) of_warp[v][threadIdx.x / warp_threads][pack] = values[v];
    __syncthreads();
#pragma unroll
    for (int v = 0; v < count; ++v) {
      values[v] = of_warp[v][0][pack];
#pragma unroll
      for (int warp = 1; warp < warps; ++warp) values[v] += of_warp[v][warp][pack];
    }
  }
}

// ---- channels shared by several blocks: two sums per channel and split in scratch memory

struct SplitSums {
  double* values;

  __device__ double* of(const ChannelLayout& layout, int64_t channel, int quantity) const {
    return values + (channel * 2 + quantity) * layout.splits;
  }
  // Room for what the last block makes of the sums, two numbers per channel.
  __device__ double* results(const ChannelLayout& layout) const { return values + layout.channels * 2 * layout.splits; }

  // Leaves a block's sums; true in the last block of a tile.
  template <typename Walk>
  __device__ bool leave(const ChannelLayout& layout, const Walk& walk, const double (&sums)[2 * Walk::own],
                        unsigned* arrivals) const {
    const unsigned tile = blockIdx.x / layout.splits, split = blockIdx.x % layout.splits;
    if (walk.is_leader())
#pragma unroll
      for (int c = 0; c < Walk::own; ++c)
        if (c < walk.own_count)
          for (int q = 0; q < 2; ++q) of(layout, walk.channel + c, q)[split] = sums[q * Walk::own + c];
    return arrives_last(arrivals + tile, layout.splits);
  }

  // finish(channel, sum, sum) for each channel of the tile, a warp for each, in one lane
  template <typename Walk, typename Finish>
  __device__ void for_channels(const ChannelLayout& layout, Finish finish) const {
    const int64_t tile_channels = (int64_t)Walk::own << layout.pack_bits;
    const int64_t begin = blockIdx.x / layout.splits * tile_channels;
    const int64_t end = begin + tile_channels < layout.channels ? begin + tile_channels : layout.channels;
    for (int64_t c = begin + threadIdx.x / warp_threads; c < end; c += channel_threads / warp_threads) {
      double sums[2] = {};
      for (int split = threadIdx.x % warp_threads; split < layout.splits; split += warp_threads)
        for (int q = 0; q < 2; ++q) sums[q] += of(layout, c, q)[split];
      for (int q = 0; q < 2; ++q) sums[q] = warp_reduce(sums[q], Sum());
      if (threadIdx.x % warp_threads == 0) finish(c, sums[0], sums[1]);
    }
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
