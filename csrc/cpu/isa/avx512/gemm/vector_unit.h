// Products of bfloat16 numbers by vectors of pairs: AVX512-BF16. Twice the multiply-adds a cycle of float32 on AMD's
// processors, as many on Intel's.
#pragma once
#include "gemm/bfloat16_panels.h"
#include "gemm/gemm.h"
#include "gemm/tile.h"

namespace MINIDL_TARGET {
namespace {

// As in tile.h, two steps at a time.
template <int height, int vectors>
BFLOAT16_CODE void multiply_tile_of_pairs(const Pair* a, const Pair* b, int64_t pairs, const TileOutput<float>& to) {
  Vec<float> sum[height][vectors];
#pragma GCC unroll 16
  for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[row][v] = Vec<float>{};
  for (int64_t pair = 0; pair < pairs; ++pair, a += packed_rows<float>, b += tile_columns<float>) {
    Vec<Pair> b_vector[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) b_vector[v] = load(b + v * width);
#pragma GCC unroll 16
    for (int row = 0; row < height; ++row) {
      Vec<Pair> a_pair(a[row]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v)
        sum[row][v] =
            Vec<float>(_mm512_dpbf16_ps(sum[row][v].lanes, (__m512bh)a_pair.lanes, (__m512bh)b_vector[v].lanes));
    }
  }
  finish_sums_of_tile(sum, to);
}

using PairTileKernel = void(const Pair*, const Pair*, int64_t, const TileOutput<float>&);

template <int... row>
PairTileKernel* pair_tile_kernel(int height, int vectors, IndexList<row...>) {
  static constexpr PairTileKernel* kernels[2][sizeof...(row)] = {{multiply_tile_of_pairs<row + 1, 1>...},
                                                                 {multiply_tile_of_pairs<row + 1, 2>...}};
  return kernels[vectors - 1][height - 1];
}

struct VectorUnit {
  static constexpr Shares shares{1, tile_rows, tile_columns<float>, gemm_grain, packing_cost};
  static constexpr int pieces = 1, packed_lines = packed_rows<float>;
  static constexpr int64_t depth_unit = 2, block_depth = 2048;  // steps

  static void pack_a(const Factor<float>& a, Range rows, Range steps, Pair* panel) {
    pack_pairs(a, rows, steps, panel, packed_lines, ceil_divide(steps.size(), 2));
  }
  static void pack_b(const Factor<float>& b, Range columns, Range steps, Pair* panel) {
    pack_pairs(b, columns, steps, panel, shares.columns_per_panel, ceil_divide(steps.size(), 2));
  }
  static void begin() {}
  static void multiply(int rows, int64_t columns, int64_t depth, const Pair* a, const Pair* b,
                       const TileOutput<float>& to) {
    int vectors = (int)ceil_divide(columns, width);
    pair_tile_kernel(rows, vectors, CountTo<tile_rows>::List{})(a, b, ceil_divide(depth, 2), to);
  }
  static void end() {}
};

}  // namespace
}  // namespace MINIDL_TARGET
