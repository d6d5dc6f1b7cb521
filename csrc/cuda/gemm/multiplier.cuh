// Sums of products by every thread for itself: 128 multiply-adds of float a cycle and multiprocessor.
#pragma once
#include "loader.cuh"

namespace MINIDL_TARGET {
namespace {

// Reads a stage that Loader has filled, for the lane-th of `lanes` lanes side by side along the lines, whose warp
// begins at first_line, and for the slice that begins at first_step.
template <typename T, int lines, int lanes, bool has_contiguous_lines>
class Fragment {
  static constexpr int size = vector_size<T>;
  using Panels = PanelLayout<T, lanes>;
  int first;

 public:
  __device__ Fragment(int first_line, int lane, int first_step) {
    if constexpr (has_contiguous_lines) {
      int panel = first_step / panel_depth<T>, vector = first_step / size % panel_vectors;
      first = (panel * lines + first_line + lane) * panel_depth<T> + (vector ^ lane / 2) * size;
    } else {
      first = first_step * lines + first_line + lane * size;
    }
  }

  // One of the `size` vectors that hold the steps [step_vector * size, + size) of a group of `size` neighbouring lines:
  // all of these steps of line i, or step i of all of these lines. The groups of a thread are lanes * size lines apart.
  __device__ Vector<T> read(const T* stage, int step_vector, int group, int i) const {
    int index;
    if constexpr (has_contiguous_lines) {
      int row = group * Panels::group + i * lanes;
      int vector = step_vector % panel_vectors ^ Panels::exchange_of_row(i * lanes);
      index = (first ^ vector * size) + (step_vector / panel_vectors * lines + row) * panel_depth<T>;
    } else {
      index = first + (step_vector * size + i) * lines + group * lanes * size;
    }
    return *(const Vector<T>*)(stage + index);
  }
};

// The sums of one thread and what it does with a stage in shared memory.
template <class Tile, bool a_contiguous, bool b_contiguous>
struct Multiplier {
  using T = typename Tile::T;
  static constexpr int size = vector_size<T>;
  T sum[Tile::thread_m][Tile::thread_n] = {};
  int slice, first_row, first_column;  // of the thread's sums in the tile
  Fragment<T, Tile::m, Tile::lanes_m, a_contiguous> a;
  Fragment<T, Tile::n, Tile::lanes_n, b_contiguous> b;

  struct Lane {
    int slice, warp_m, warp_n, lane_m, lane_n;
  };
  // Neighbouring lanes differ by column, by row, by column, ...: then two quarters of a warp, which read 16 bytes a
  // lane one after the other, are served at once.
  static __device__ Lane lane_of_thread() {
    int warp = threadIdx.x / warp_threads, lane = threadIdx.x % warp_threads;
    int slice_warp = warp % Tile::slice_warps, warps_n = Tile::n / Tile::warp_n;
    return {warp / Tile::slice_warps, slice_warp / warps_n * Tile::warp_m, slice_warp % warps_n * Tile::warp_n,
            lane / 2 % 2 + lane / 16 * 2, lane % 2 + lane / 4 % 4 * 2};
  }

  __device__ Multiplier() : Multiplier(lane_of_thread()) {}
  __device__ Multiplier(Lane at)
      : slice(at.slice),
        first_row(at.warp_m + at.lane_m * size),
        first_column(at.warp_n + at.lane_n * size),
        a(at.warp_m, at.lane_m, at.slice * Tile::slice_depth),
        b(at.warp_n, at.lane_n, at.slice * Tile::slice_depth) {}

  // sum += a b over this slice's steps of a stage
  __device__ void multiply(const T* stage) {
    const T* stage_b = stage + Tile::m * Tile::depth;
    constexpr int groups_m = Tile::thread_m / size, groups_n = Tile::thread_n / size;
#pragma unroll
    for (int vector = 0; vector < Tile::slice_depth / size; ++vector) {
      Vector<T> a_square[groups_m][size];
#pragma unroll
      for (int i = 0; i < Tile::thread_m; ++i) a_square[i / size][i % size] = a.read(stage, vector, i / size, i % size);
      // One vector of b at a time: it takes few registers, and a step of a is done with before the next if it can be.
#pragma unroll
      for (int i = 0; i < Tile::thread_n; ++i) {
        int group = b_contiguous ? i / size : i % groups_n, within = b_contiguous ? i % size : i / groups_n;
        Vector<T> b_vector = b.read(stage_b, vector, group, within);
#pragma unroll
        for (int e = 0; e < size; ++e)
#pragma unroll
          for (int row = 0; row < Tile::thread_m; ++row) {
            int step = b_contiguous ? e : within, column = group * size + (b_contiguous ? within : e);
            const Vector<T>(&square)[size] = a_square[row / size];
            T a_value = a_contiguous ? square[row % size].values[step] : square[step].values[row % size];
            sum[row][column] += a_value * b_vector.values[e];
          }
      }
    }
  }

  // The sums as vectors along the columns of out.
  __device__ Vector<T> vector(int index) const {
    Vector<T> result;
#pragma unroll
    for (int e = 0; e < size; ++e) result.values[e] = sum[index / Tile::vectors_n][index % Tile::vectors_n * size + e];
    return result;
  }
  __device__ int row(int index) const {
    int i = index / Tile::vectors_n;
    return first_row + i / size * (Tile::lanes_m * size) + i % size;
  }
  __device__ int column(int index) const { return first_column + index % Tile::vectors_n * (Tile::lanes_n * size); }
};

}  // namespace
}  // namespace MINIDL_TARGET
