// Products of bfloat16 numbers by tiles of 16 rows of 64 bytes: AMX. Sixteen times the multiply-adds a cycle of
// float32.
#pragma once
#include "gemm/bfloat16_panels.h"
#include "gemm/gemm.h"

#define AMX_CODE __attribute__((target("amx-tile,amx-bf16")))

namespace MINIDL_TARGET {
namespace {

struct alignas(64) TileShapes {
  uint8_t palette = 1, first_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Two tiles side by side: of a packed panel of b, of sums.
constexpr int two_tiles = 2 * width;

// Tiles 0 to 3 hold sums, 4 and 5 a, 6 and 7 b: in the largest case four are loaded for four products. A factor that is
// not loaded is that of the call before.
template <int row_tiles, int column_tiles, bool loads_a = true, bool loads_b = true>
AMX_CODE inline void add_products(const Pair* a, const Pair* b) {
  constexpr int64_t row_bytes = width * sizeof(Pair);
  if constexpr (loads_b) _tile_loadd(6, b, 2 * row_bytes);
  if constexpr (loads_a) _tile_loadd(4, a, row_bytes);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (column_tiles == 2) {
    if constexpr (loads_b) _tile_loadd(7, b + width, 2 * row_bytes);
    _tile_dpbf16ps(1, 4, 7);
  }
  if constexpr (row_tiles == 2) {
    if constexpr (loads_a) _tile_loadd(5, a + width * width, row_bytes);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (column_tiles == 2) _tile_dpbf16ps(3, 5, 7);
  }
}

// sums = a b: one or two tiles below each other, one or two side by side, over blocks of 32 steps. Of factors in two
// pieces, the product of the second ones is left out.
template <int row_tiles, int column_tiles, int pieces>
AMX_CODE void multiply_squares(const Pair* a, const Pair* b, int64_t blocks, float* sums, int64_t stride) {
  constexpr int64_t piece = 2 * width * width;
  asm volatile("" ::: "memory");  // GCC's intrinsics do not say that they read memory
  _tile_zero(0);
  if constexpr (column_tiles == 2) _tile_zero(1);
  if constexpr (row_tiles == 2) _tile_zero(2);
  if constexpr (row_tiles == 2 && column_tiles == 2) _tile_zero(3);
  for (int64_t block = 0; block < blocks; ++block, a += pieces * piece, b += pieces * piece) {
    if constexpr (pieces == 2) {
      add_products<row_tiles, column_tiles>(a + piece, b);
      add_products<row_tiles, column_tiles, true, false>(a, b);
      add_products<row_tiles, column_tiles, false, true>(a, b + piece);
    } else {
      add_products<row_tiles, column_tiles>(a, b);
    }
  }
  const int64_t stride_bytes = stride * sizeof(float);
  float* lower_sums = sums + width * stride;
  _tile_stored(0, sums, stride_bytes);
  if constexpr (column_tiles == 2) _tile_stored(1, sums + width, stride_bytes);
  if constexpr (row_tiles == 2) _tile_stored(2, lower_sums, stride_bytes);
  if constexpr (row_tiles == 2 && column_tiles == 2) _tile_stored(3, lower_sums + width, stride_bytes);
}

// As finish_tile, for two full tiles side by side: row by row, as memory is written fastest.
template <bool adds_to_out, bool has_saved>
void finish_rows(const float* sums, int rows, const TileOutput<float>& to) {
  const int64_t stride = to.stride;
  const Vec<float> lower_bound(to.lower_bound());
  Vec<float> bias[2];
  for (int v = 0; v < 2; ++v) bias[v] = to.bias ? load(to.bias + v * width) : no_bias<float>();
  float* out = to.out;
  const float* saved = to.saved;
  for (int row = 0; row < rows; ++row, sums += two_tiles, out += stride) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      Vec<float> sum = load(sums + v * width);
      if constexpr (adds_to_out) sum = load(out + v * width) + sum;
      if constexpr (has_saved)
        sum = relu_gradient(load(saved + row * stride + v * width), sum);
      else
        sum = add_and_bound(sum, bias[v], lower_bound);
      store(out + v * width, sum);
    }
  }
}

template <int piece_count>
struct AmxUnit {
  static constexpr Shares shares{width, two_tiles, two_tiles, 8 * gemm_grain, 4 * packing_cost};
  static constexpr int pieces = piece_count, packed_lines = two_tiles;
  static constexpr int64_t depth_unit = block_steps, block_depth = 1024;  // steps

  static void pack_a(const Factor<float>& a, Range rows, Range steps, Pair* panel) {
    pack_squares<pieces>(a, rows, steps, panel, packed_lines);
  }
  static void pack_b(const Factor<float>& b, Range columns, Range steps, Pair* panel) {
    pack_pairs<pieces>(b, columns, steps, panel, two_tiles, ceil_divide(steps.size(), depth_unit) * width);
  }
  AMX_CODE static void begin() {
    static constexpr TileShapes shapes;
    _tile_loadconfig(&shapes);
  }
  static void multiply(int rows, int64_t columns, int64_t depth, const Pair* a, const Pair* b,
                       const TileOutput<float>& to) {
    static constexpr decltype(&multiply_squares<1, 1, pieces>) kernels[2][2] = {
        {multiply_squares<1, 1, pieces>, multiply_squares<1, 2, pieces>},
        {multiply_squares<2, 1, pieces>, multiply_squares<2, 2, pieces>}};
    auto multiply_all = kernels[rows > width][columns > width];
    int64_t blocks = ceil_divide(depth, depth_unit);
    bool are_whole_tiles = rows % width == 0 && columns % width == 0;
    if (are_whole_tiles && to.is_plain() && !to.adds_to_out) {
      multiply_all(a, b, blocks, to.out, to.stride);
      return;
    }
    alignas(64) float sums[packed_lines * two_tiles];
    multiply_all(a, b, blocks, sums, two_tiles);
    static constexpr decltype(&finish_rows<false, false>) finish[2][2] = {
        {finish_rows<false, false>, finish_rows<false, true>}, {finish_rows<true, false>, finish_rows<true, true>}};
    if (columns == two_tiles && to.is_short())
      finish[to.adds_to_out][to.saved != nullptr](sums, rows, to);
    else
      finish_tile(to, sums, two_tiles, rows);
  }
  // A thread that holds tiles is dearer to switch.
  AMX_CODE static void end() { _tile_release(); }
};

}  // namespace
}  // namespace MINIDL_TARGET
