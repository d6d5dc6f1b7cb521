// Sums of products by every thread for itself: 128 multiply-adds of float a cycle and multiprocessor.
#pragma once
#include "step_loader.cuh"

namespace MINIDL_TARGET {
namespace {

// The sums of one thread and what it does with a stage in shared memory, which holds one step after the other.
template <class Tile, bool a_contiguous, bool b_contiguous>
struct Multiplier {
  using T = typename Tile::T;
  static constexpr int size = vector_size<T>, groups_m = Tile::thread_m / size, groups_n = Tile::thread_n / size;
  static constexpr int pitch_a = step_pitch<Tile, Tile::m, a_contiguous>;
  static constexpr int pitch_b = step_pitch<Tile, Tile::n, b_contiguous>;
  T sum[Tile::thread_m][Tile::thread_n] = {};
  Vector<T> a[2][groups_m], b[2][groups_n];  // of two steps: one is multiplied while the next is read
  int slice, first_row, first_column;        // of the thread's sums in the tile
  int first_a, first_b;                      // of the thread's numbers in a stage

  // Neighbouring lanes differ by column, by row, by column, ...: then two quarters of a warp, which read 16 bytes a
  // lane one after the other, are served at once.
  __device__ Multiplier() {
    int warp = threadIdx.x / warp_threads, lane = threadIdx.x % warp_threads;
    int slice_warp = warp % Tile::slice_warps, warps_n = Tile::n / Tile::warp_n;
    int lane_m = lane / 2 % 2 + lane / 16 * 2, lane_n = lane % 2 + lane / 4 % 4 * 2;
    slice = warp / Tile::slice_warps;
    first_row = slice_warp / warps_n * Tile::warp_m + lane_m * size;
    first_column = slice_warp % warps_n * Tile::warp_n + lane_n * size;
    first_a = slice * Tile::slice_depth * pitch_a + first_row;
    first_b = Tile::stage_a_size + slice * Tile::slice_depth * pitch_b + first_column;
  }

  // Reads a step of this slice from a stage.
  __device__ void read(const T* stage, int step) {
#pragma unroll
    for (int i = 0; i < groups_m; ++i)
      a[step % 2][i] = *(const Vector<T>*)(stage + first_a + step * pitch_a + i * (Tile::lanes_m * size));
#pragma unroll
    for (int i = 0; i < groups_n; ++i)
      b[step % 2][i] = *(const Vector<T>*)(stage + first_b + step * pitch_b + i * (Tile::lanes_n * size));
  }

  // sum += a b of a step that has been read. Of two multiply-adds in a row one factor is the same, which spares a read
  // of the register file.
  __device__ void multiply(int step) {
#pragma unroll
    for (int row = 0; row < Tile::thread_m; ++row)
#pragma unroll
      for (int i = 0; i < Tile::thread_n; ++i) {
        int column = row % 2 == 0 ? i : Tile::thread_n - 1 - i;
        sum[row][column] +=
            a[step % 2][row / size].values[row % size] * b[step % 2][column / size].values[column % size];
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
