// The shapes of a block's work: a tile of out, shared out to warps, lanes and threads, and its steps of k, to slices.
#pragma once
#include "product.cuh"
#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

constexpr int panel_bytes = 64;  // of one line that lie together in shared memory: four vectors, two sectors
constexpr int panel_vectors = panel_bytes / vector_bytes;
template <typename T>
constexpr int panel_depth = panel_bytes / sizeof(T);

// How sums of products come about: by every thread, or by a warp's tensor cores from rounded factors.
enum class Arithmetic { multiply_add, tf32, bfloat16 };

// A warp's lanes stand in rows and columns over a rectangle of the tile, each with thread_m x thread_n sums: groups of
// whole vectors of neighbouring lines, a vector of every lane after the other. `slices` sets of warps cover the tile;
// each takes its share of the `depth` steps that a stage holds.
template <typename Number, Arithmetic kind, int tile_m, int tile_n, int sums_m, int sums_n, int slice_count,
          int stage_depth>
struct Tile {
  using T = Number;
  static constexpr Arithmetic arithmetic = kind;
  static constexpr bool uses_tensor_cores = arithmetic != Arithmetic::multiply_add;
  static constexpr int m = tile_m, n = tile_n, thread_m = sums_m, thread_n = sums_n;
  static constexpr int slices = slice_count, depth = stage_depth, slice_depth = depth / slices;
  static constexpr int lanes_m = uses_tensor_cores ? 8 : 4, lanes_n = uses_tensor_cores ? 4 : 8;
  // Lanes that read a vector each, of neighbouring lines or the same steps of every vector_size-th line.
  static constexpr int reading_lanes_m = lanes_m, reading_lanes_n = 8;
  static constexpr int warp_m = lanes_m * thread_m, warp_n = lanes_n * thread_n;
  static constexpr int slice_warps = (m / warp_m) * (n / warp_n);
  static constexpr int slice_threads = slice_warps * warp_threads, threads = slices * slice_threads;
  static constexpr int vectors_n = thread_n / vector_size<T>;
  static constexpr int sum_vectors = thread_m * vectors_n, own_vectors = sum_vectors / slices;
  // While one stage is multiplied the next two are on their way.
  static constexpr int stages = 3, stage_size = (m + n) * depth;
  static constexpr int exchange_size = slices > 1 ? thread_m * thread_n * threads : 0;
  static constexpr int shared_size = stages * stage_size > exchange_size ? stages * stage_size : exchange_size;
  // What a block leaves for the one that adds up the splits of k.
  static constexpr int partial_size = m * n + m;

  static_assert(m % warp_m == 0 && n % warp_n == 0 && slice_depth % vector_size<T> == 0);
  static_assert(sum_vectors % slices == 0 && shared_size * sizeof(T) <= 48 << 10);
};

template <class... Tile>
struct TileList {};

// The more sums a thread has, the fewer loads from shared memory go with a multiply-add: 6 vectors for 128 sums in the
// large tile, which takes 4 warps of 255 registers, 3 vectors for 32 sums in the others, with 8 warps. A stage has
// 16 KiB at most, so that three leave room for two blocks on a multiprocessor with 100 KiB.
template <typename T, Arithmetic kind>
constexpr auto tiles_for() {
  if constexpr (kind != Arithmetic::multiply_add)
    return TileList<Tile<T, kind, 128, 128, 8, 16, 1, 16>, Tile<T, kind, 64, 64, 4, 8, 2, 32>,
                    Tile<T, kind, 32, 32, 4, 8, 4, 64>>{};
  else if constexpr (sizeof(T) == 4)
    return TileList<Tile<T, kind, 128, 128, 8, 16, 1, 16>, Tile<T, kind, 64, 64, 8, 4, 2, 32>,
                    Tile<T, kind, 64, 32, 8, 4, 4, 32>, Tile<T, kind, 32, 32, 8, 4, 8, 64>>{};
  else
    return TileList<Tile<T, kind, 64, 64, 4, 4, 1, 16>, Tile<T, kind, 32, 32, 4, 4, 4, 32>>{};
}

}  // namespace
}  // namespace MINIDL_TARGET
