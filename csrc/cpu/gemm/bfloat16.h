// Products of factors rounded to bfloat16, added up in float32, where the CPU has instructions for it: twice the
// multiply-adds a cycle. Both factors are rounded while they are packed; then it is the general product of gemm.h.
#pragma once
#include "gemm/gemm.h"
#include "gemm/product.h"
#include "gemm/register_transpose.h"
#include "gemm/tile.h"
#include "parallel.h"
#include "scratch.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// Two steps of a line: the first in the lower half. The last pair of an odd number of steps is filled up with a zero.
using Pair = int32_t;

// With fewer lines of one factor, the other is not used often enough to make up for rounding and packing all of it.
// Measured on a Zen 4 core against float32: 32 x 1024 x 1024 takes 0.7 to 0.9 of the time, 16 x 1024 x 1024 1.0 to 1.2;
// 256 x 256 x 8 0.7, 256 x 256 x 2 1.0.
constexpr int64_t min_bfloat16_lines = 32, min_bfloat16_depth = 8;

// ---- packing: the lines of a factor as panels of pairs, panel[pair * panel_lines + line]

template <typename T>
BFLOAT16_CODE void pack_pairs_of_contiguous_lines(const T* from, int64_t stride, int lines, int64_t depth, Pair* panel,
                                                  int panel_lines) {
  constexpr int width = Vec<T>::width;
  for (int first = 0; first < lines; first += width) {
    // A square that is not full repeats its last line: what the lanes beyond the lines hold is not used.
    int last = smaller(lines - first, width) - 1;
    const T* source = from + first * stride;
    Pair* target = panel + first;
    for (int64_t step = 0; step < depth; step += 2 * width, source += 2 * width, target += width * panel_lines) {
      int count = smaller(depth - step, width), second_count = smaller(depth - step - count, width);
      Vec<Pair> square[width];
#pragma GCC unroll 16
      for (int row = 0; row < width; ++row) {
        const T* line = source + (row < last ? row : last) * stride;
        auto first_steps = load_partial(line, count), second_steps = load_partial(line + count, second_count);
        square[row] = Vec<Pair>(
            (typename Vec<Pair>::Native)native_round_neighbours_to_pairs(first_steps.lanes, second_steps.lanes));
      }
      transpose_registers(square);
      int pairs = (count + second_count + 1) / 2;
#pragma GCC unroll 16
      for (int row = 0; row < width; ++row)
        if (row < pairs) store(target + row * panel_lines, square[row]);
    }
  }
}

template <typename T>
BFLOAT16_CODE void pack_pairs_of_strided_lines(const T* from, int64_t stride, int lines, int64_t depth, Pair* panel,
                                               int panel_lines) {
  constexpr int width = Vec<T>::width;
  for (int64_t step = 0; step < depth; step += 2, from += 2 * stride, panel += panel_lines) {
    for (int line = 0; line < lines; line += width) {
      int count = smaller(lines - line, width);
      // See pack_strided_lines.
      __builtin_prefetch(from + 8 * stride + line);
      __builtin_prefetch(from + 9 * stride + line);
      auto first_step = load_partial(from + line, count);
      auto second_step = load_partial(from + stride + line, step + 1 < depth ? count : 0);
      store(panel + line,
            Vec<Pair>((typename Vec<Pair>::Native)native_round_lanes_to_pairs(first_step.lanes, second_step.lanes)));
    }
  }
}

template <typename T>
void pack_pairs(const Factor<T>& factor, Range lines, Range steps, Pair* panel, int panel_lines) {
  auto pack = factor.has_contiguous_lines ? pack_pairs_of_contiguous_lines<T> : pack_pairs_of_strided_lines<T>;
  pack(factor.at(lines.begin, steps.begin), factor.stride, (int)lines.size(), steps.size(), panel, panel_lines);
}

// ---- the tile kernel: as in tile.h, two steps at a time

template <typename T, int height, int vectors>
BFLOAT16_CODE void multiply_tile_of_pairs(const Pair* a, const Pair* b, int64_t pairs, const TileOutput<T>& to) {
  constexpr int width = Vec<T>::width;
  Vec<T> sum[height][vectors];
#pragma GCC unroll 16
  for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[row][v] = Vec<T>{};
  for (int64_t pair = 0; pair < pairs; ++pair, a += packed_rows<T>, b += tile_columns<T>) {
    Vec<Pair> b_vector[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) b_vector[v] = load(b + v * width);
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row) {
      Vec<Pair> a_pair(a[row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v)
        sum[row][v] = Vec<T>(native_add_products_of_pairs(sum[row][v].lanes, a_pair.lanes, b_vector[v].lanes));
    }
  }
  finish_sums_of_tile(sum, to);
}

template <typename T>
using PairTileKernel = void(const Pair*, const Pair*, int64_t, const TileOutput<T>&);

template <typename T, int... row>
PairTileKernel<T>* pair_tile_kernel(int height, int vectors, IndexList<row...>) {
  static constexpr PairTileKernel<T>* kernels[2][sizeof...(row)] = {{multiply_tile_of_pairs<T, row + 1, 1>...},
                                                                    {multiply_tile_of_pairs<T, row + 1, 2>...}};
  return kernels[vectors - 1][height - 1];
}

// ---- blocks

// A rectangle of out, computed by one thread; see PackedProduct for the order of the blocks and why threads share
// nothing.
template <typename T>
struct Bfloat16Product {
  static constexpr int columns_per_panel = tile_columns<T>;

  const Product<T>& product;
  int64_t all_row_panels;
  Range row_panels, column_panels;
  int64_t pairs = ceil_divide(product.k, 2);
  int64_t depth_blocks = ceil_divide(pairs, block_depth_bytes / (int64_t)sizeof(Pair));
  int64_t a_panel_size = ceil_divide(pairs, depth_blocks) * packed_rows<T>;
  int64_t b_panel_size = ceil_divide(pairs, depth_blocks) * columns_per_panel;
  int64_t row_chunks = ceil_divide(row_panels.size() * a_panel_size * sizeof(Pair), chunk_bytes);
  int64_t column_blocks = ceil_divide(column_panels.size() * b_panel_size * sizeof(Pair), block_panels_bytes);
  // With a single chunk of rows, each panel of b is used up before the next one takes its place.
  bool keeps_b = row_chunks > 1;

  void run() const {
    int64_t size_a = ceil_divide(row_panels.size(), row_chunks) * a_panel_size;
    int64_t size_b = keeps_b ? ceil_divide(column_panels.size(), column_blocks) * b_panel_size : b_panel_size;
    Pair* packed_a = (Pair*)minidl::scratch_memory((size_a + size_b) * sizeof(Pair));
    for (int64_t column_block = 0; column_block < column_blocks; ++column_block)
      for (int64_t depth_block = 0; depth_block < depth_blocks; ++depth_block)
        for (int64_t row_chunk = 0; row_chunk < row_chunks; ++row_chunk) {
          Range block = share(pairs, depth_block, depth_blocks);
          multiply(share(row_panels, row_chunk, row_chunks), share(column_panels, column_block, column_blocks),
                   {2 * block.begin, smaller(product.k, 2 * block.end)}, packed_a, packed_a + size_a);
        }
  }

  Range rows_of(int64_t panel) const { return share(product.m, panel, all_row_panels); }
  Range columns_of(int64_t panel) const {
    return {panel * columns_per_panel, smaller(product.n, (panel + 1) * columns_per_panel)};
  }

  void multiply(Range rows, Range columns, Range steps, Pair* packed_a, Pair* packed_b) const {
    for (int64_t row = rows.begin; row < rows.end; ++row)
      pack_pairs(product.a, rows_of(row), steps, packed_a + (row - rows.begin) * a_panel_size, packed_rows<T>);
    bool packs_b = rows.begin == row_panels.begin;
    for (int64_t column = columns.begin; column < columns.end; ++column) {
      Pair* b = packed_b + (keeps_b ? column - columns.begin : 0) * b_panel_size;
      if (packs_b) pack_pairs(product.b, columns_of(column), steps, b, columns_per_panel);
      for (int64_t row = rows.begin; row < rows.end; ++row)
        multiply_panels(rows_of(row), columns_of(column), steps, packed_a + (row - rows.begin) * a_panel_size, b);
    }
  }

  void multiply_panels(Range rows, Range columns, Range steps, const Pair* a, const Pair* b) const {
    TileOutput<T> to = product.output_at(rows.begin, columns.begin, columns.size());
    if (steps.begin > 0) to.adds_to_out = true;
    if (steps.end < product.k) to.bias = to.saved = nullptr, to.activation = Activation::none;
    int vectors = (int)ceil_divide(columns.size(), Vec<T>::width);
    auto multiply_tile = pair_tile_kernel<T>((int)rows.size(), vectors, typename CountTo<tile_rows>::List{});
    multiply_tile(a, b, ceil_divide(steps.size(), 2), to);
  }
};

// False, and nothing done, where it is not allowed, float32 is as fast, or there are no instructions.
template <typename T>
bool multiply_in_bfloat16(Stream stream, const Product<T>& p) {
  if constexpr (requires(typename Vec<T>::Native v, typename Vec<Pair>::Native pairs) {
                  native_add_products_of_pairs(v, pairs, pairs);
                }) {
    if (!stream.allows_bfloat16 || smaller(p.m, p.n) < min_bfloat16_lines || p.k < min_bfloat16_depth) return false;
    multiply_rectangles<T>(stream, p, ceil_divide(p.n, tile_columns<T>),
                           [&](int64_t all_row_panels, Range rows, Range columns) {
                             Bfloat16Product<T>{p, all_row_panels, rows, columns}.run();
                           });
    return true;
  }
  return false;
}

}  // namespace
}  // namespace MINIDL_TARGET
