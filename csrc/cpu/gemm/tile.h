// The tile kernel: height x (vectors * width) sums of products, kept in registers over the whole depth.
#pragma once
#include "gemm/epilogue.h"
#include "gemm/index_list.h"
#include "gemm/product.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// Sums fill the registers but for two vectors of b, one broadcast number of a and one product:
// 14 x 2 of 32 registers, 6 x 2 of 16.
constexpr int tile_vectors = 2;
constexpr int tile_rows = vector_registers / tile_vectors - 2;
template <typename T>
constexpr int tile_columns = tile_vectors * Vec<T>::width;
// A load and a shuffle for every number of a are too many instructions beside the sums: a packed panel holds each
// number in every lane of a vector then.
constexpr bool repeats_a = !has_broadcast_load;
// Whether a tile can store the steps of b that it reads as a packed panel, which costs it next to nothing.
constexpr bool can_copy_b = !repeats_a;
// Lines of a packed panel of a: whole vectors, or one vector each.
template <typename T>
constexpr int packed_rows = repeats_a ? tile_rows : (tile_rows + Vec<T>::width - 1) / Vec<T>::width * Vec<T>::width;
template <typename T>
constexpr int packed_step = packed_rows<T> * (repeats_a ? Vec<T>::width : 1);

// What a tile does with b: reads it; reads and fetches the steps to come; or does both and packs it for other tiles.
enum class Columns { read, fetched, copied };

// Steps in whose time it pays to fetch out, even if it is only written: 1024 x 1024 x 1024 on a Zen 5 core takes 5 %
// less time, below 256 steps none. At the end of a tile, as what was fetched at its beginning has left the cache again
// after 500 steps and more: another 1 to 3 %. With the line in which a row ends, 1500^3 and its like take 5 % less.
constexpr int64_t min_depth_to_fetch_out = 256, steps_to_fetch_out = 64;

// Where the rows of a step of a lie: a matrix row apart, side by side (a transposed a, a packed panel), or in a packed
// panel that repeats each number in every lane of a vector; then b is packed as well.
enum class Rows { apart, adjacent, repeated };

// Cache lines that are packed or read next: pieces of so many lines, not more pieces than a line has elements.
template <typename T>
struct Soon {
  const T* first;
  int64_t lines, stride;  // from line to line
  int64_t pieces = 1, piece_stride = 0;
};

template <typename T>
struct TileInput {
  const T *a, *b;
  int64_t a_stride;  // from row to row if the rows are apart, else from step to step
  int64_t b_step;
  int64_t depth;
  T* b_copy;  // the panel that the tile packs b into, if it does
  Soon<T> soon;
};

// What the steps of a tile fetch into the L2, one cache line each: what is used soon, and before they end the lines of
// out, column by column. All of this goes through one loop, in turn.
template <typename T, int height, int columns>
struct Fetches {
  static constexpr int line = 64 / sizeof(T), lines_of_out = (columns + line - 1) / line;
  static_assert((lines_of_out + 1) * height <= steps_to_fetch_out);
  struct Lines {
    int64_t steps;
    const T* first;
    int64_t stride;
  };
  Lines of[line + lines_of_out + 3];
  int count = 0;

  Fetches(const TileInput<T>& in, const TileOutput<T>& to) {
    const bool fetches_out = in.depth >= (to.adds_to_out ? steps_to_fetch_out : min_depth_to_fetch_out);
    const int64_t before = fetches_out ? in.depth - steps_to_fetch_out : in.depth;
    const T* rest = in.soon.first;
    int64_t stride = in.soon.stride;
    if (in.soon.pieces == 1) {
      of[count++] = {before, rest, stride};
      rest += before * stride;
    } else {
      fetch_pieces(in.soon, before);
      rest = in.b, stride = 0;
    }
    if (!fetches_out) return;
    for (int i = 0; i < lines_of_out; ++i) of[count++] = {height, to.out + i * line, to.stride};
    int64_t last_steps = steps_to_fetch_out - lines_of_out * height;
    if (begins_within_lines(to.out, to.stride)) {
      of[count++] = {height, to.out + columns - 1, to.stride};
      last_steps -= height;
    }
    of[count++] = {last_steps, rest, stride};
  }

 private:
  // As many whole pieces as there are steps for.
  __attribute__((noinline)) void fetch_pieces(const Soon<T>& soon, int64_t steps) {
    for (int64_t i = 0; i < soon.pieces && steps >= soon.lines; ++i, steps -= soon.lines)
      of[count++] = {soon.lines, soon.first + i * soon.piece_stride, soon.stride};
    of[count++] = {steps, soon.first, 0};
  }
};

// to.out[:height, :columns] from sums in registers.
template <typename T, int height, int vectors>
SIMD_INLINE void finish_sums_of_tile(Vec<T> (&sum)[height][vectors], const TileOutput<T>& to) {
  constexpr int width = Vec<T>::width, columns = vectors * width;
  if (to.columns == columns && to.is_short() && to.adds_to_out) {
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[row][v] = load(to.out + row * to.stride + v * width) + sum[row][v];
  }
  if (to.columns == columns && to.is_plain()) {
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) store(to.out + row * to.stride + v * width, sum[row][v]);
  } else if (to.columns == columns && to.is_short() && to.saved) {
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        int64_t place = row * to.stride + v * width;
        store(to.out + place, relu_gradient(load(to.saved + place), sum[row][v]));
      }
  } else if (to.columns == columns && to.is_short()) {
    Vec<T> lower_bound(to.lower_bound()), bias[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) bias[v] = to.bias ? load(to.bias + v * width) : no_bias<T>();
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v)
        store(to.out + row * to.stride + v * width, add_and_bound(sum[row][v], bias[v], lower_bound));
  } else {
    alignas(64) T sums[height * columns];
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) store(sums + row * columns + v * width, sum[row][v]);
    finish_tile(to, sums, columns, height);
  }
}

// to.out[:height, :columns] = a b, finished as `to` says.
template <typename T, int height, int vectors, Rows rows, Columns columns>
void multiply_tile(const TileInput<T>& in, const TileOutput<T>& to) {
  constexpr int width = Vec<T>::width;
  Vec<T> sum[height][vectors];
#pragma GCC unroll 16
  for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[row][v] = Vec<T>{};

  const T *a = in.a, *b = in.b;
  T* b_copy = in.b_copy;
  auto add_step = [&](auto number_at) __attribute__((always_inline)) {
    Vec<T> b_vector[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) b_vector[v] = load(b + v * width);
    if constexpr (columns == Columns::copied) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) store(b_copy + v * width, b_vector[v]);
      b_copy += tile_columns<T>;
    }
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row) {
      Vec<T> a_number = number_at(row);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[row][v] = fma(a_number, b_vector[v], sum[row][v]);
    }
  };
  if constexpr (rows == Rows::repeated) {
    // Constant strides, four steps a round, nothing else: every instruction counts where a multiply-add takes two.
    const T* end = a + in.depth * packed_step<T>;
#pragma GCC unroll 4
    for (; a != end; a += packed_step<T>, b += tile_columns<T>)
      add_step([&](int row) __attribute__((always_inline)) { return load(a + row * width); });
  } else {
    const int64_t a_row = rows == Rows::apart ? in.a_stride : 1, a_step = rows == Rows::apart ? 1 : in.a_stride;
    constexpr int fetched_steps = 8;
    // Measured: 2 % less time with 32 registers, 4 % more with 16.
    constexpr int steps_a_round = vector_registers > 16 ? 2 : 1;
    const Fetches<T, height, vectors * width> fetches(in, to);
    for (int i = 0; i < fetches.count; ++i) {
      const T* soon = fetches.of[i].first;
      const int64_t soon_step = fetches.of[i].stride;
#pragma GCC unroll steps_a_round
      for (int64_t steps = fetches.of[i].steps; steps > 0; --steps, a += a_step, b += in.b_step, soon += soon_step) {
        __builtin_prefetch(soon, 0, 2);
        // The prefetchers of the first-level cache do not follow steps that far apart. In panels it would cost 3 %.
        if constexpr (columns != Columns::read) {
#pragma GCC unroll 2
          for (int v = 0; v < vectors; ++v) __builtin_prefetch(b + fetched_steps * in.b_step + v * width);
        }
        add_step([&](int row) __attribute__((always_inline)) { return Vec<T>(a[row * a_row]); });
      }
    }
  }

  finish_sums_of_tile(sum, to);
}

template <typename T>
using TileKernel = void(const TileInput<T>&, const TileOutput<T>&);

template <typename T, int vectors, Rows rows, Columns columns, int... row>
inline TileKernel<T>* kernel_of_height(int height, IndexList<row...>) {
  static constexpr TileKernel<T>* kernels[] = {multiply_tile<T, row + 1, vectors, rows, columns>...};
  return kernels[height - 1];
}

template <typename T, int vectors, Columns columns>
TileKernel<T>* kernel_of_width(int height, Rows rows) {
  typename CountTo<tile_rows>::List heights;
  if constexpr (repeats_a && columns == Columns::read)
    if (rows == Rows::repeated) return kernel_of_height<T, vectors, Rows::repeated, columns>(height, heights);
  return rows == Rows::adjacent ? kernel_of_height<T, vectors, Rows::adjacent, columns>(height, heights)
                                : kernel_of_height<T, vectors, Rows::apart, columns>(height, heights);
}

// The instance for 1 <= height <= tile_rows and 1 or 2 vectors; one that does more than read b is of full width.
template <typename T>
TileKernel<T>* tile_kernel(int height, int vectors, Rows rows, Columns columns) {
  if constexpr (can_copy_b)
    if (columns == Columns::copied) return kernel_of_width<T, tile_vectors, Columns::copied>(height, rows);
  if (columns == Columns::fetched) return kernel_of_width<T, tile_vectors, Columns::fetched>(height, rows);
  return vectors == 1 ? kernel_of_width<T, 1, Columns::read>(height, rows)
                      : kernel_of_width<T, 2, Columns::read>(height, rows);
}

}  // namespace
}  // namespace MINIDL_TARGET
