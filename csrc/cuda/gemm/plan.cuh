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

// An estimate in cycles of an H100. Reasoned, not measured: a multiprocessor does 128 multiply-adds of float in a
// cycle, 64 of double, and a load from shared memory costs as much as 3 of them. Its tensor cores do 1024 in TF32 and
// 2048 in bfloat16, 0.6 of that through the instructions of sm_80, and wait for 128 bytes a cycle from shared memory.
// An arrival costs a fence and an atomic, a trip to L2 each, and the first read of what others wrote a third; then one
// multiprocessor reads about 48 bytes of partial sums a cycle.
constexpr double multiply_adds_per_load = 3, tf32_per_cycle = 600, bfloat16_per_cycle = 1200;
constexpr double block_cycles = 600, arrival_cycles = 1500, partial_bytes_per_cycle = 48;

struct TileShape {
  int64_t m, n;
  double step_cycles, partial_bytes;
};
template <class Tile>
constexpr TileShape shape_of() {
  double step_cycles = 0;
  if (Tile::uses_tensor_cores) {
    double per_cycle = Tile::arithmetic == Arithmetic::tf32 ? tf32_per_cycle : bfloat16_per_cycle;
    double read_bytes = Tile::slice_warps * (Tile::warp_m + Tile::warp_n) * 4;
    step_cycles = Tile::m * Tile::n / per_cycle + read_bytes / 128;
  } else {
    double sums = Tile::thread_m * Tile::thread_n;
    double loads = (Tile::thread_m + Tile::thread_n) / vector_size<typename Tile::T>;
    double per_cycle = 512 / sizeof(typename Tile::T) * sums / (sums + multiply_adds_per_load * loads);
    step_cycles = Tile::m * Tile::n / per_cycle;
  }
  return {Tile::m, Tile::n, step_cycles, Tile::partial_size * sizeof(typename Tile::T)};
}

// The plan of least estimated time. The products of an MLP fill 132 multiprocessors with small tiles first and with
// splits next, because the block that arrives last reads splits x tile bytes by itself: 128 x 256 x 784 in 32 tiles of
// 32 x 32 takes 8600 cycles, in 4 splits 2700 + 1500 + 340 to add them up; in 8 tiles of 64 x 64 33000, in 13 splits
// 3200 + 1500 + 4500. What comes of it for the forward products, backward ones being alike:
//                     batch 32            batch 128           batch 512        batch 1024
//    784 ->  256   32x32, 10 splits   32x32, 4 splits           32x32             64x32
//    256 ->  128   32x32, 4 splits    32x32, 4 splits           32x32             32x32
//    784 -> 1024   32x32, 4 splits         32x32                64x64       128x128, 2 splits
//   1024 ->   10   32x32, 11 splits   32x32, 11 splits   32x32, 8 splits    32x32, 4 splits
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
      double cycles = divide_up(tiles * splits, multiprocessors) * (block_cycles + depth * shape.step_cycles);
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
