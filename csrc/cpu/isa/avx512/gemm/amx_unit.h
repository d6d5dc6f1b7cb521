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

// A row of two tiles: of a packed panel of b, of sums.
constexpr int tile_pair_columns = 2 * width;

// sums = a b: one or two tiles below each other, one or two side by side, over blocks of 32 steps. Tiles 0 to 3 hold
// sums, 4 and 5 a, 6 and 7 b: in the largest case four are loaded for four products.
template <int row_tiles, int column_tiles>
AMX_CODE void multiply_squares(const Pair* a, const Pair* b, int64_t blocks, float* sums) {
  constexpr int64_t square = width * width, row_bytes = width * sizeof(Pair), wide_row_bytes = 2 * row_bytes;
  asm volatile("" ::: "memory");  // GCC's intrinsics do not say that they read memory
  _tile_zero(0);
  if constexpr (column_tiles == 2) _tile_zero(1);
  if constexpr (row_tiles == 2) _tile_zero(2);
  if constexpr (row_tiles == 2 && column_tiles == 2) _tile_zero(3);
  for (int64_t block = 0; block < blocks; ++block, a += 2 * square, b += 2 * square) {
    _tile_loadd(6, b, wide_row_bytes);
    _tile_loadd(4, a, row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (column_tiles == 2) {
      _tile_loadd(7, b + width, wide_row_bytes);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (row_tiles == 2) {
      _tile_loadd(5, a + square, row_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (column_tiles == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, wide_row_bytes);
  if constexpr (column_tiles == 2) _tile_stored(1, sums + width, wide_row_bytes);
  if constexpr (row_tiles == 2) _tile_stored(2, sums + 2 * square, wide_row_bytes);
  if constexpr (row_tiles == 2 && column_tiles == 2) _tile_stored(3, sums + 2 * square + width, wide_row_bytes);
}

struct AmxUnit {
  static constexpr Shares shares{width, 2 * width, tile_pair_columns, 8 * gemm_grain, 4 * packing_cost};
  static constexpr int packed_lines = 2 * width;
  static constexpr int64_t depth_unit = square_steps, block_depth = 1024;  // steps

  static void pack_a(const Factor<float>& a, Range rows, Range steps, Pair* panel) {
    pack_squares(a, rows, steps, panel, packed_lines);
  }
  static void pack_b(const Factor<float>& b, Range columns, Range steps, Pair* panel) {
    pack_pairs(b, columns, steps, panel, tile_pair_columns, ceil_divide(steps.size(), depth_unit) * width);
  }
  AMX_CODE static void begin() {
    static constexpr TileShapes shapes;
    _tile_loadconfig(&shapes);
  }
  static void multiply(int rows, int64_t columns, int64_t depth, const Pair* a, const Pair* b,
                       const TileOutput<float>& to) {
    static constexpr decltype(&multiply_squares<1, 1>) kernels[2][2] = {
        {multiply_squares<1, 1>, multiply_squares<1, 2>}, {multiply_squares<2, 1>, multiply_squares<2, 2>}};
    alignas(64) float sums[packed_lines * tile_pair_columns];
    kernels[rows > width][columns > width](a, b, ceil_divide(depth, depth_unit), sums);
    finish_tile(to, sums, tile_pair_columns, rows);
  }
  // A thread that holds tiles is dearer to switch.
  AMX_CODE static void end() { _tile_release(); }
};

}  // namespace
}  // namespace MINIDL_TARGET
