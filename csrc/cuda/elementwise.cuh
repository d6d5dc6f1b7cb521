// Maps over contiguous arrays and over broadcast operands: out[i] = f(inputs[i]...), by packs of 16 bytes where every
// array is aligned so, else element by element.
#pragma once
#include <ptx.cuh>
#include <utility>

#include "kernels.h"
#include "launch.cuh"

namespace MINIDL_TARGET {
namespace {

// Neighbouring elements that are read and written at once.
template <typename T, int width>
struct alignas(width * sizeof(T)) Pack {
  T at[width];
};

constexpr int pack_bytes = 16;
template <typename T>
constexpr int pack_width = pack_bytes / (int)sizeof(T);

// So many threads and packs keep 32 bytes per thread and input under way, and 16 blocks fill a multiprocessor: reasoned
// from an H100's bandwidth times latency, 18 KB per multiprocessor; not measured.
constexpr int map_threads = 128;
template <int width>
constexpr int packs_per_thread = width > 1 ? 2 : 4;

template <typename... Arrays>
bool is_aligned(int64_t bytes, const Arrays*... arrays) {
  return (((uintptr_t)arrays % bytes == 0) && ...);
}

// The first count elements of a pack, at most all of it; the others are 0, and not written.
template <int width, typename T>
__device__ Pack<T, width> load_pack(const T* from, int64_t count) {
  if (count >= width) return *reinterpret_cast<const Pack<T, width>*>(from);
  Pack<T, width> pack{};
#pragma unroll
  for (int j = 0; j < width - 1; ++j)
    if (j < count) pack.at[j] = from[j];
  return pack;
}

template <typename T, int width>
__device__ void store_pack(T* to, const Pack<T, width>& pack, int64_t count) {
  if (count >= width) {
    *reinterpret_cast<Pack<T, width>*>(to) = pack;
    return;
  }
#pragma unroll
  for (int j = 0; j < width - 1; ++j)
    if (j < count) to[j] = pack.at[j];
}

template <typename To, typename From, int width>
__device__ Pack<To, width> convert_pack(const Pack<From, width>& from) {
  Pack<To, width> to;
#pragma unroll
  for (int j = 0; j < width; ++j) to.at[j] = (To)from.at[j];
  return to;
}

// f of one pack per input, element by element.
template <typename T, typename Input, int width, typename F, size_t... input>
__device__ Pack<T, width> map_packs(F f, const Pack<Input, width>* inputs, std::index_sequence<input...>) {
  Pack<T, width> out;
#pragma unroll
  for (int j = 0; j < width; ++j) out.at[j] = f(inputs[input].at[j]...);
  return out;
}

// ---- contiguous arrays

template <int width, typename T, typename F, typename... Inputs>
__global__ void __launch_bounds__(map_threads) map_kernel(T* out, int64_t size, F f, const Inputs*... inputs) {
  follow_earlier_kernels();
  constexpr int packs = packs_per_thread<width>, count = sizeof...(Inputs);
  constexpr int step = map_threads * width;
  const int64_t first = blockIdx.x * (int64_t)(packs * step) + threadIdx.x * width;
  Pack<T, width> loaded[packs][count > 0 ? count : 1];
#pragma unroll
  for (int k = 0; k < packs; ++k) {
    const int64_t i = first + k * step;
    int input = 0;
    ((loaded[k][input++] = load_pack<width>(inputs + i, size - i)), ...);
  }
#pragma unroll
  for (int k = 0; k < packs; ++k) {
    const int64_t i = first + k * step;
    store_pack(out + i, map_packs<T>(f, loaded[k], std::index_sequence_for<Inputs...>()), size - i);
  }
}

// out may be one of the inputs.
template <typename T, typename F, typename... Inputs>
void map(Stream stream, int64_t size, T* out, F f, const Inputs*... inputs) {
  auto launch_map = [&](auto width, auto kernel) {
    launch(stream, divide_up(size, map_threads * width() * packs_per_thread<width()>), map_threads, kernel, out, size,
           f, inputs...);
  };
  constexpr int width = pack_width<T>;
  if (is_aligned(pack_bytes, out, inputs...))
    launch_map(std::integral_constant<int, width>(), map_kernel<width, T, F, Inputs...>);
  else
    launch_map(std::integral_constant<int, 1>(), map_kernel<1, T, F, Inputs...>);
}

// ---- broadcast operands

// Division of numbers below 2^31 by one that the host knows: Granlund and Montgomery 1994.
struct Divider {
  uint32_t divisor, magic, shift;

  Divider() = default;
  explicit Divider(uint32_t divisor) : divisor(divisor), magic(0), shift(0) {
    while ((uint64_t(1) << shift) < divisor) ++shift;
    magic = (uint32_t)(((uint64_t(1) << 32) * ((uint64_t(1) << shift) - divisor)) / divisor + 1);
  }
  __device__ uint32_t quotient(uint32_t n) const { return ((uint32_t)((uint64_t)n * magic >> 32) + n) >> shift; }
};

// A Strided in packs of out: where each pack finds its elements of the operands.
template <int operands>
struct PackLayout {
  int dims;
  Divider extents[max_dims];
  int64_t strides[max_dims][operands];

  PackLayout(const Strided<operands>& layout, int width) : dims(layout.dims) {
    for (int d = 0; d < dims; ++d) {
      const bool is_last = d == dims - 1;
      extents[d] = Divider((uint32_t)(is_last ? divide_up(layout.shape[d], width) : layout.shape[d]));
      for (int k = 0; k < operands; ++k) strides[d][k] = layout.strides[k][d] * (is_last ? width : 1);
    }
  }

  __device__ void locate(uint32_t pack, int64_t (&offsets)[operands]) const {
#pragma unroll
    for (int k = 0; k < operands; ++k) offsets[k] = 0;
#pragma unroll 1
    for (int d = dims - 1; d > 0; --d) {
      const uint32_t quotient = extents[d].quotient(pack);
      const uint32_t place = pack - quotient * extents[d].divisor;
#pragma unroll
      for (int k = 0; k < operands; ++k) offsets[k] += place * strides[d][k];
      pack = quotient;
    }
#pragma unroll
    for (int k = 0; k < operands; ++k) offsets[k] += pack * strides[0][k];
  }
};

template <int width, typename T, typename F, typename... Inputs>
__global__ void __launch_bounds__(map_threads)
    broadcast_kernel(T* out, int64_t size, F f, const PackLayout<sizeof...(Inputs)> layout, const Inputs*... inputs) {
  follow_earlier_kernels();
  constexpr int packs = packs_per_thread<width>, count = sizeof...(Inputs);
  const uint32_t first = blockIdx.x * (packs * map_threads) + threadIdx.x;
  auto is_repeated = [&](int input) { return width > 1 && layout.strides[layout.dims - 1][input] == 0; };
  Pack<T, width> loaded[packs][count];
#pragma unroll
  for (int k = 0; k < packs; ++k) {
    const uint32_t pack = first + k * map_threads;
    const int64_t left = size - (int64_t)pack * width;
    if (left <= 0) continue;
    int64_t offsets[count];
    layout.locate(pack, offsets);
    int input = 0;
    ((loaded[k][input] = convert_pack<T>(load_pack<width>(inputs + offsets[input], is_repeated(input) ? 1 : left)),
      ++input),
     ...);
  }
#pragma unroll
  for (int k = 0; k < packs; ++k) {
#pragma unroll
    for (int input = 0; input < count; ++input)
      if (is_repeated(input))  // only now, for it waits for the load
        for (int j = 1; j < width; ++j) loaded[k][input].at[j] = loaded[k][input].at[0];
    const int64_t i = (int64_t)(first + k * map_threads) * width;
    store_pack(out + i, map_packs<T>(f, loaded[k], std::index_sequence_for<Inputs...>()), size - i);
  }
}

// Whether an operand can be read by packs: its rows are contiguous and aligned, or one element each.
template <typename Input>
bool has_packs(const Input* data, const int64_t* strides, int dims, int width) {
  if (strides[dims - 1] == 0) return true;
  bool result = strides[dims - 1] == 1 && is_aligned(width * sizeof(Input), data);
  for (int d = 0; d < dims - 1; ++d) result = result && strides[d] % width == 0;
  return result;
}

// out = f(inputs...), read through the layout and written contiguous; f takes and gives T. out may be an input that
// is read in the same order.
template <typename T, typename F, typename... Inputs>
void map_broadcast(Stream stream, Strided<sizeof...(Inputs)> layout, T* out, F f, const Inputs*... inputs) {
  constexpr int operands = sizeof...(Inputs);
  if (layout.dims == 0) layout = {1, {1}, {}};
  const int last = layout.dims - 1;
  int64_t size = 1;
  for (int d = 0; d <= last; ++d) size *= layout.shape[d];
  if (size == 0) return;

  if constexpr ((std::is_same_v<Inputs, T> && ...)) {
    bool is_contiguous = last == 0;
    for (int k = 0; k < operands; ++k) is_contiguous = is_contiguous && layout.strides[k][0] == 1;
    if (is_contiguous) return map(stream, size, out, f, inputs...);
  }

  // Packs are counted in 32 bits; more of them are several launches.
  constexpr int64_t max_packs = int64_t(1) << 30;
  if (size > max_packs) {
    int split = 0;
    while (layout.shape[split] == 1) ++split;
    const int64_t extent = layout.shape[split];
    int64_t half = extent / 2;
    if (half > pack_bytes) half -= half % pack_bytes;  // the second half aligned like the first
    layout.shape[split] = half;
    map_broadcast(stream, layout, out, f, inputs...);
    layout.shape[split] = extent - half;
    int k = 0;
    ((inputs += half * layout.strides[k++][split]), ...);
    return map_broadcast(stream, layout, out + size / extent * half, f, inputs...);
  }

  auto launch_broadcast = [&](auto width, auto kernel) {
    launch(stream, divide_up(divide_up(size, width()), map_threads * packs_per_thread<width()>), map_threads, kernel,
           out, size, f, PackLayout<operands>(layout, width()), inputs...);
  };
  constexpr int width = pack_width<T>;
  bool by_packs = is_aligned(pack_bytes, out) && (last == 0 || layout.shape[last] % width == 0);
  int k = 0;
  ((by_packs = by_packs && has_packs(inputs, layout.strides[k++], layout.dims, width)), ...);
  if (by_packs)
    launch_broadcast(std::integral_constant<int, width>(), broadcast_kernel<width, T, F, Inputs...>);
  else
    launch_broadcast(std::integral_constant<int, 1>(), broadcast_kernel<1, T, F, Inputs...>);
}

}  // namespace
}  // namespace MINIDL_TARGET
