// Factors on their way from memory through registers, where they are rounded, to the shared memory that warpgroups'
// products read.
#pragma once
#include <ptx.cuh>

#include "tile.cuh"
#include "warpgroup_ptx.cuh"

namespace MINIDL_TARGET {
namespace {

// A block's work: two warpgroups feed, two multiply, half of the tile's rows each.
template <Arithmetic kind, int tile_n>
struct WarpgroupTile {
  static constexpr bool is_bfloat16 = kind == Arithmetic::bfloat16;
  static constexpr int m = 128, n = tile_n, depth = 32;
  static constexpr int multipliers = 2 * warpgroup_threads, feeders = 2 * warpgroup_threads;
  static constexpr int threads = multipliers + feeders;
  // Shares of a multiprocessor's 64K: 128 are for the sums of the large tile. Feeders hold all that is on its way, a
  // stage of the large tile or two of the small one.
  static constexpr int multiplier_registers = 160, feeder_registers = 96;
  static constexpr int stages_held = n == 256 ? 1 : 2;
  static constexpr int instructions = n / instruction_n;
  static constexpr int line_bytes = depth * (is_bfloat16 ? 2 : 4), stage_bytes = (m + n) * line_bytes;
  static constexpr int stages = (192 << 10) / stage_bytes;
  static constexpr int line_sum_parts = depth / 4;
  static_assert(stages * stage_bytes >= m * n * (int)sizeof(float), "the sums take the place of the stages");
};

// Lines do not follow each other in a stage: of every 32, row 8 e + q holds line 4 q + e. So lanes that load
// neighbouring vectors of 4 lines side by side, and then store one line each, write to 8 neighbouring rows, which share
// no bank; and in a row of sums a thread has 4 neighbouring columns.
__device__ inline int line_of_row(int row) { return row / 32 * 32 + row % 8 * 4 + row / 8 % 4; }

// What a thread brings of one factor: squares of 4 lines side by side x 4 steps, or of 4 contiguous lines x 4 steps.
template <class Tile, int lines, bool has_contiguous_lines>
class Feeder {
  static constexpr int vectors = lines * Tile::depth / 4 / Tile::feeders;
  static constexpr int rows_apart = has_contiguous_lines ? Tile::feeders / 8 : Tile::feeders / 2;
  static_assert(rows_apart % 32 == 0, "rows that far apart hold lines that far apart");

  const char* from;  // the block's first line and step of the stage to load next
  unsigned first_bytes, stride_bytes;
  int line, step, lines_left, steps_left;  // of the thread's first vector
  int to;                                  // its place in a stage
  Vector<float> held[Tile::stages_held][vectors];

 public:
  static constexpr int squares = vectors / 4;
  using LineSums = float[squares][4];

  __device__ Feeder(const Factor<float>& factor, int64_t batch, int64_t first_line, int64_t first_step, int depth) {
    int thread = threadIdx.x - Tile::multipliers;
    int row = has_contiguous_lines ? thread / 8 : thread / 64 * 32 + thread % 8;
    line = line_of_row(row);
    step = has_contiguous_lines ? thread % 8 * 4 : thread / 8 % 8 * 4;
    int64_t left = factor.lines - first_line, stride = factor.stride();
    lines_left = (left < lines ? (int)left : lines) - line;
    steps_left = depth - step;
    from = (const char*)(factor.data + batch * factor.batch_stride +
                         (has_contiguous_lines ? first_line * stride + first_step : first_step * stride + first_line));
    stride_bytes = (unsigned)stride * sizeof(float);
    first_bytes = (has_contiguous_lines ? line : step) * stride_bytes +
                  (has_contiguous_lines ? step : line) * (unsigned)sizeof(float);
    int bytes = step / 4 * (Tile::line_bytes / (Tile::depth / 4));
    to = swizzled_place<Tile::line_bytes>(row, bytes / 16) + bytes % 16;
  }

  // Starts to load a square of the next stage; what lies outside of the factor or of the block's steps becomes 0.
  __device__ void load(int stage_held, int square) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int lines_on = (has_contiguous_lines ? square * 4 + i : square) * rows_apart;
      int steps_on = has_contiguous_lines ? 0 : i;
      unsigned bytes =
          first_bytes + (has_contiguous_lines ? lines_on * stride_bytes
                                              : steps_on * stride_bytes + lines_on * (unsigned)sizeof(float));
      bool is_inside = lines_left > lines_on && steps_left > steps_on;
      held[stage_held][square * 4 + i] =
          is_inside ? __builtin_bit_cast(Vector<float>, __ldg((const float4*)(from + bytes))) : Vector<float>{};
    }
  }
  __device__ void advance() {
    from += has_contiguous_lines ? Tile::depth * (int64_t)sizeof(float) : Tile::depth * (int64_t)stride_bytes;
    steps_left -= Tile::depth;
  }

  // Writes a square, rounded, to a stage.
  __device__ void store(char* stage, int stage_held, int square) const {
    const Vector<float>(&x)[vectors] = held[stage_held];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if constexpr (has_contiguous_lines) {
        int i = square * 4 + e;
        store_steps(stage + to + i * rows_apart * Tile::line_bytes, x[i].values);
      } else {
        float steps[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) steps[i] = x[square * 4 + i].values[e];
        store_steps(stage + to + (square * rows_apart + e * 8) * Tile::line_bytes, steps);
      }
    }
  }

  // Of lines side by side, unrounded.
  __device__ void add_to(LineSums& sums, int stage_held) const {
#pragma unroll
    for (int i = 0; i < vectors; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[i / 4][e] += held[stage_held][i].values[e];
  }
  // To [line_sum_parts][lines].
  __device__ void store_sums(float* shared, const LineSums& sums) const {
#pragma unroll
    for (int square = 0; square < squares; ++square)
#pragma unroll
      for (int e = 0; e < 4; ++e) shared[step / 4 * lines + line + square * rows_apart + e] = sums[square][e];
  }

 private:
  static __device__ void store_steps(char* at, const float (&x)[4]) {
    if constexpr (Tile::is_bfloat16)
      *(uint2*)at = {round_to_bfloat16_pair(x[0], x[1]), round_to_bfloat16_pair(x[2], x[3])};
    else
      *(uint4*)at = {round_to_tf32(x[0]), round_to_tf32(x[1]), round_to_tf32(x[2]), round_to_tf32(x[3])};
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
