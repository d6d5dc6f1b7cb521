// Which tile a product gets and into how many pieces its sums are split: a function of the shape alone.
#pragma once
#include <limits.h>
#include <math.h>

#include "tile.cuh"

namespace MINIDL_TARGET {
namespace {

struct Plan {
  int tile;  // place in the list of tile shapes
  unsigned tiles_m, tiles_n, splits;
  int split_depth;          // steps of k of every split but the last; a multiple of the panel
  bool in_cluster = false;  // the splits of a tile are the blocks of a cluster
};

// An estimate in cycles. Of products by tensor cores it is reasoned, for an H100: these do 1024 multiply-adds a cycle
// and multiprocessor in TF32 and 2048 in bfloat16, 0.6 of that through the instructions of sm_80, and wait for 128
// bytes a cycle from shared memory. Of the others it was fitted by hand to what an H200 took for float32, layers of 128
// and of 1024 rows, 512 x 1024 x 1024 and 4096^3: a step costs its multiply-adds and, from L2, its bytes; a block costs
// its way in and out, which is hidden where a multiprocessor has several. To add up splits costs two fences and a few
// trips to L2, and then one multiprocessor reads about 48 bytes of partial sums a cycle.
constexpr double tf32_per_cycle = 600, bfloat16_per_cycle = 1200, tensor_block_cycles = 600;
constexpr double floats_per_cycle = 112, fetched_bytes_per_cycle = 34, block_cycles_per_sum = 1;
constexpr double arrival_cycles = 2500, partial_bytes_per_cycle = 48;

struct TileShape {
  int64_t m, n;
  double step_cycles, block_cycles, partial_bytes;
  int blocks_at_once;  // on a multiprocessor
};
template <class Tile>
constexpr TileShape shape_of() {
  constexpr int number_bytes = sizeof(typename Tile::T);
  constexpr double multiply_adds = Tile::m * Tile::n, partial_bytes = Tile::partial_size * number_bytes;
  if (Tile::uses_tensor_cores) {
    double per_cycle = Tile::arithmetic == Arithmetic::tf32 ? tf32_per_cycle : bfloat16_per_cycle;
    double read_bytes = Tile::slice_warps * (Tile::warp_m + Tile::warp_n) * 4;
    return {Tile::m, Tile::n, multiply_adds / per_cycle + read_bytes / 128, tensor_block_cycles, partial_bytes, 1};
  }
  double step_cycles = multiply_adds * number_bytes / 4 / floats_per_cycle +
                       (Tile::m + Tile::n) * number_bytes / fetched_bytes_per_cycle;
  return {Tile::m, Tile::n, step_cycles, multiply_adds * block_cycles_per_sum, partial_bytes, Tile::resident_blocks};
}

// The plan of least estimated time. The products of an MLP fill 132 multiprocessors with small tiles first and with
// splits next: 128 x 256 x 784 in 32 tiles of 32 x 32 takes 14000 cycles, in 4 splits 4500 + 2900 to add them up; in 8
// tiles of 64 x 64 45000, in 13 splits 7400 + 7100. What comes of it for the forward products, backward ones being
// alike:
//                     batch 32            batch 128           batch 512        batch 1024
//    784 ->  256   32x32, 13 splits   32x32, 4 splits           32x32             32x32
//    256 ->  128   32x32, 8 splits    32x32, 8 splits           32x32             32x32
//    784 -> 1024   32x32, 4 splits         32x32                64x64             64x64
//   1024 ->   10   32x32, 16 splits   32x32, 16 splits   32x32, 8 splits    32x32, 4 splits
// and from 2048 x 2048 on 128x128.
template <typename T, class... Tile>
Plan choose_plan(TileList<Tile...>, int64_t batch, int64_t m, int64_t n, int64_t k) {
  constexpr unsigned split_counts[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 132};
  constexpr TileShape shapes[] = {shape_of<Tile>()...};
  Plan best = {};
  double least = INFINITY;
  for (int tile = 0; tile < (int)sizeof...(Tile); ++tile) {
    TileShape shape = shapes[tile];
    int64_t tiles_m = divide_up(m, shape.m), tiles_n = divide_up(n, shape.n), tiles = batch * tiles_m * tiles_n;
    for (unsigned wanted : split_counts) {
      int64_t depth = divide_up(divide_up(k, wanted), panel_depth<T>) * panel_depth<T>;
      int64_t splits = k > 0 ? divide_up(k, depth) : 1;
      bool has_room = tiles <= arrival_count && tiles * splits * shape.partial_bytes <= scratch_bytes;
      if (depth > INT_MAX || (splits > 1 && !has_room)) continue;
      double cycles = divide_up(tiles * splits, multiprocessors * shape.blocks_at_once) * shape.block_cycles +
                      divide_up(tiles * splits, multiprocessors) * depth * shape.step_cycles;
      if (splits > 1)
        cycles += divide_up(tiles, multiprocessors) *
                  (arrival_cycles + splits * shape.partial_bytes / partial_bytes_per_cycle);
      if (cycles < least) {
        least = cycles;
        best = {tile, (unsigned)tiles_m, (unsigned)tiles_n, (unsigned)splits, (int)depth};
      }
    }
  }
  return best;
}

}  // namespace
}  // namespace MINIDL_TARGET
