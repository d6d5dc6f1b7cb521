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

// The largest even share of `vectors`, each of vector_numbers in shared memory, that finds room there.
constexpr int exchanged_at_once(int vectors, int vector_numbers, int shared_numbers) {
  int parts = 1;
  while (vectors % parts != 0 || vectors / parts * vector_numbers > shared_numbers) ++parts;
  return vectors / parts;
}

// A warp's lanes stand in rows and columns over a rectangle of the tile, each with thread_m x thread_n sums: groups of
// whole vectors of neighbouring lines, a vector of every lane after the other. `slices` sets of warps cover the tile;
// each takes its share of the `depth` steps that a stage holds.
template <typename Number, Arithmetic kind, int tile_m, int tile_n, int sums_m, int sums_n, int slice_count,
          int stage_depth, int stage_count = 3, int least_blocks = 2>
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
  static constexpr int resident_blocks = least_blocks;  // on one multiprocessor, if its shared memory is large enough
  static constexpr int padding = uses_tensor_cores ? 0 : vector_size<T>;  // of a step of contiguous lines
  // While one stage is multiplied the others are on their way.
  static constexpr int stages = stage_count, stage_a_size = (m + padding) * depth;
  static constexpr int stage_size = stage_a_size + (n + padding) * depth;
  static constexpr int shared_size = stages * stage_size;
  // Of the vectors that a thread gets when slices are added, how many at once
  static constexpr int exchanged_vectors =
      exchanged_at_once(own_vectors, slices * threads * vector_size<T>, shared_size);
  // Of the vectors that a thread writes, how many at once, with the two that may go into each
  static constexpr int written_vectors = exchanged_at_once(own_vectors, 3 * threads * vector_size<T>, shared_size);
  // What a block leaves for the one that adds up the splits of k.
  static constexpr int partial_size = m * n + m;

  static_assert(m % warp_m == 0 && n % warp_n == 0 && slice_depth % 2 == 0 && stages >= 2);
  static_assert(sum_vectors % slices == 0);
};

template <class... Tile>
struct TileList {};

// The more sums a thread has, the fewer loads from shared memory go with a multiply-add: 4 vectors for 64 sums, 3 for
// 32. The large tile fills a multiprocessor with two blocks of 8 warps and 128 registers a thread: 4096^3 took 2.80 to
// 2.92 ms on an H200, by layout (2.76 with cuBLAS), and 2.81 to 3.27 ms in tiles of 128 x 256 with 128 sums a thread
// and half the warps.
template <typename T, Arithmetic kind>
constexpr auto tiles_for() {
  if constexpr (kind != Arithmetic::multiply_add)
    return TileList<Tile<T, kind, 128, 128, 8, 16, 1, 16>, Tile<T, kind, 64, 64, 4, 8, 2, 32>,
                    Tile<T, kind, 32, 32, 4, 8, 4, 64>>{};
  else if constexpr (sizeof(T) == 4)
    return TileList<Tile<T, kind, 128, 128, 8, 8, 1, 16>, Tile<T, kind, 64, 64, 8, 4, 2, 32>,
                    Tile<T, kind, 32, 32, 8, 4, 4, 32, 4, 4>>{};
  else
    return TileList<Tile<T, kind, 64, 64, 4, 4, 1, 16>, Tile<T, kind, 32, 32, 4, 4, 4, 32>>{};
}

}  // namespace
}  // namespace MINIDL_TARGET
