// Sums of products by the tensor cores of a warp, from factors rounded to TF32 or bfloat16, added up in float32.
#pragma once
#include "loader.cuh"

namespace MINIDL_TARGET {
namespace {

// With group = lane / 4 and place = lane % 4, a lane reads of 32 neighbouring lines 4 group + v the steps 4 place + e
// of a panel, v and e = 0 .. 3. To the tensor cores the lines of one v are 8 neighbouring rows of a, or columns of b,
// and 4 place + e are the steps that they want of this lane: any order will do, as long as it is the same for a and b.
// So the lanes read whole vectors in both layouts, and their sums are vectors along the columns of out.
template <class Tile, int lines, bool has_contiguous_lines>
class TensorFragment {
  static constexpr int panel = panel_depth<float>;
  int first;

 public:
  static constexpr int group_lines = 32;

  __device__ TensorFragment(int first_line, int first_step) {
    int group = threadIdx.x % warp_threads / 4, place = threadIdx.x % 4;
    if constexpr (has_contiguous_lines)
      first = (first_step / panel * lines + first_line + group) * panel +
              (place ^ PanelLayout<float, 8>::exchange_of_row(group)) * 4;
    else
      first = (first_step + 4 * place) * lines + first_line + (group ^ exchange_of_step<true>(4 * place)) * 4;
  }

  // values[v].values[e]
  __device__ void read(const float* stage, int panel_number, int group, Vector<float> (&values)[4]) const {
    const float* from = stage + first + panel_number * panel * lines;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (has_contiguous_lines) {
        values[i] = *(const Vector<float>*)(from + (group * group_lines + i * 8) * panel);
      } else {
        Vector<float> step = *(const Vector<float>*)(from + group * group_lines + i * lines);
#pragma unroll
        for (int v = 0; v < 4; ++v) values[v].values[i] = step.values[v];
      }
    }
  }
};

// The steps of a panel that one instruction multiplies, rounded: two registers a line.
template <Arithmetic arithmetic>
struct RoundedSteps;
template <>
struct RoundedSteps<Arithmetic::tf32> {
  static constexpr int instructions = 2;
  uint32_t at[instructions][2];
  RoundedSteps() = default;
  __device__ explicit RoundedSteps(const Vector<float>& x)
      : at{{round_to_tf32(x.values[0]), round_to_tf32(x.values[1])},
           {round_to_tf32(x.values[2]), round_to_tf32(x.values[3])}} {}
};
template <>
struct RoundedSteps<Arithmetic::bfloat16> {
  static constexpr int instructions = 1;
  uint32_t at[instructions][2];
  RoundedSteps() = default;
  __device__ explicit RoundedSteps(const Vector<float>& x)
      : at{{round_to_bfloat16_pair(x.values[0], x.values[1]), round_to_bfloat16_pair(x.values[2], x.values[3])}} {}
};

// As Multiplier; a warp has groups_m x groups_n squares of 32 x 32 sums.
template <class Tile, bool a_contiguous, bool b_contiguous>
struct TensorMultiplier {
  using Rounded = RoundedSteps<Tile::arithmetic>;
  static constexpr int groups_m = Tile::warp_m / 32, groups_n = Tile::warp_n / 32;
  // Of 16 lines of a (v = 2 t, 2 t + 1) and 8 of b: what multiply_add_tf32 calls sum.
  float sum[groups_m][2][groups_n][4][4] = {};
  int slice, first_row, first_column;
  TensorFragment<Tile, Tile::m, a_contiguous> a;
  TensorFragment<Tile, Tile::n, b_contiguous> b;

  struct Warp {
    int slice, m, n;
  };
  static __device__ Warp warp_of_thread() {
    int warp = threadIdx.x / warp_threads, slice_warp = warp % Tile::slice_warps, warps_n = Tile::n / Tile::warp_n;
    return {warp / Tile::slice_warps, slice_warp / warps_n * Tile::warp_m, slice_warp % warps_n * Tile::warp_n};
  }

  __device__ TensorMultiplier() : TensorMultiplier(warp_of_thread()) {}
  __device__ TensorMultiplier(Warp warp)
      : slice(warp.slice),
        first_row(warp.m + threadIdx.x % warp_threads / 4 * 4),
        first_column(warp.n + threadIdx.x % 4 * 8),
        a(warp.m, warp.slice * Tile::slice_depth),
        b(warp.n, warp.slice * Tile::slice_depth) {}

  // sum += a b over this slice's steps of a stage
  __device__ void multiply(const float* stage) {
    const float* stage_b = stage + Tile::m * Tile::depth;
#pragma unroll
    for (int panel = 0; panel < Tile::slice_depth / panel_depth<float>; ++panel) {
      // Registers in the order of one instruction's operand, gathered once for all of b
      uint32_t a_operands[groups_m][2][Rounded::instructions][4];
#pragma unroll
      for (int i = 0; i < groups_m; ++i) {
        Rounded lines[4];
        round_steps(a, stage, panel, i, lines);
#pragma unroll
        for (int part = 0; part < Rounded::instructions; ++part)
#pragma unroll
          for (int r = 0; r < 8; ++r) a_operands[i][r / 4][part][r % 4] = lines[r / 4 * 2 + r % 2].at[part][r % 4 / 2];
      }
#pragma unroll
      for (int group = 0; group < groups_n; ++group) {
        Rounded b_lines[4];
        round_steps(b, stage_b, panel, group, b_lines);
#pragma unroll
        for (int part = 0; part < Rounded::instructions; ++part)
#pragma unroll
          for (int i = 0; i < groups_m; ++i)
#pragma unroll
            for (int t = 0; t < 2; ++t)
#pragma unroll
              for (int v = 0; v < 4; ++v)
                multiply_add(sum[i][t][group][v], a_operands[i][t][part], b_lines[v].at[part]);
      }
    }
  }

  // The sums as vectors along the columns of out.
  __device__ Vector<float> vector(int index) const {
    int row = index / Tile::vectors_n, column = index % Tile::vectors_n;
    Vector<float> result;
#pragma unroll
    for (int v = 0; v < 4; ++v) result.values[v] = sum[row / 4][row % 4 / 2][column / 2][v][row % 2 * 2 + column % 2];
    return result;
  }
  __device__ int row(int index) const {
    int row = index / Tile::vectors_n;
    return first_row + row / 4 * 32 + row % 4;
  }
  __device__ int column(int index) const {
    int column = index % Tile::vectors_n;
    return first_column + column / 2 * 32 + column % 2 * 4;
  }

 private:
  template <class Fragment>
  static __device__ void round_steps(const Fragment& fragment, const float* stage, int panel, int group,
                                     Rounded (&rounded)[4]) {
    Vector<float> values[4];
    fragment.read(stage, panel, group, values);
#pragma unroll
    for (int v = 0; v < 4; ++v) rounded[v] = Rounded(values[v]);
  }
  static __device__ void multiply_add(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (Tile::arithmetic == Arithmetic::tf32)
      multiply_add_tf32(sum, a, b);
    else
      multiply_add_bfloat16(sum, a, b);
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
