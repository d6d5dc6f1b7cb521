// From global to shared memory, one step of all lines after the other: contiguous lines are transposed on the way.
#pragma once
#include <ptx.cuh>
#include <utility>

#include "tile.cuh"

namespace MINIDL_TARGET {
namespace {

// Contiguous lines arrive number by number, from each lane one of `run` steps of one of four lines. With a vector more
// to a row these meet no bank of shared memory twice, and a run of floats is a sector of global memory.
constexpr int run = 8;

// From one step to the next in a stage.
template <class Tile, int lines, bool has_contiguous_lines>
constexpr int step_pitch = lines + (has_contiguous_lines ? Tile::padding : 0);

// A stage is [depth][step_pitch].
template <class Tile, int lines, bool has_contiguous_lines>
class StepLoader {
  using T = typename Tile::T;
  static constexpr int size = vector_size<T>, pitch = step_pitch<Tile, lines, has_contiguous_lines>;
  static constexpr int copied = has_contiguous_lines ? 1 : size;  // lines in one copy
  static constexpr int row_threads = lines / size;                // threads that bring a step of lines side by side
  // From one copy of a thread to its next
  static constexpr int lines_apart = has_contiguous_lines ? Tile::threads / run : lines;
  static constexpr int steps_apart = has_contiguous_lines ? run : Tile::threads / row_threads;
  static constexpr int line_count = lines / lines_apart, step_count = Tile::depth / steps_apart;
  static_assert(lines % lines_apart == 0 && Tile::depth % steps_apart == 0 && step_count > 0);

  const T* from;  // the thread's first number of the next stage
  int64_t stride;
  int step, to, lines_left;  // of the thread's first copy; lines_left from its own line on
  bool is_vectorized;
  using Steps = std::make_integer_sequence<int, step_count>;
  T held[line_count * step_count][copied];  // between fetch and deposit, where no copy is asynchronous

 public:
  __device__ StepLoader(const Factor<T>& factor, bool is_vectorized, int64_t batch, int64_t first_line,
                        int64_t first_step)
      : stride(factor.stride()), is_vectorized(is_vectorized) {
    step = has_contiguous_lines ? threadIdx.x % run : threadIdx.x / row_threads;
    int line = has_contiguous_lines ? threadIdx.x / run : threadIdx.x % row_threads * size;
    to = step * pitch + line;
    int64_t left = factor.lines - first_line;
    lines_left = (left < lines ? (int)left : lines) - line;
    from = factor.data + batch * factor.batch_stride;
    from += has_contiguous_lines ? (first_line + line) * stride + first_step + step
                                 : (first_step + step) * stride + first_line + line;
  }

  // Starts to bring the next steps, of which so many are left, to `stage`.
  __device__ void fetch(T* stage, int steps_left) {
    if (has_contiguous_lines && steps_left >= Tile::depth)
      fetch_all<true, true>(stage + to, steps_left);
    else if (has_contiguous_lines || is_vectorized)
      fetch_all<true, false>(stage + to, steps_left);
    else
      fetch_all<false, false>(stage + to, steps_left);
    from += has_contiguous_lines ? Tile::depth : Tile::depth * stride;
  }

  // Writes what fetch has read, where no copy is asynchronous.
  __device__ void deposit(T* stage) {
    if constexpr (!has_async_copies) {
#pragma unroll
      for (int i = 0; i < line_count; ++i)
#pragma unroll
        for (int s = 0; s < step_count; ++s)
#pragma unroll
          for (int e = 0; e < copied; ++e)
            stage[to + s * (steps_apart * pitch) + i * lines_apart + e] = held[i * step_count + s][e];
    }
  }

 private:
  // What lies outside of the matrix or of the block's steps becomes 0.
  template <bool as_whole, bool has_all_steps>
  __device__ void fetch_all(T* to, int steps_left) {
    const T* line = from;
#pragma unroll
    for (int i = 0; i < line_count; ++i) {
      int lines_here = lines_left - i * lines_apart;
      fetch_steps<as_whole, has_all_steps>(to + i * lines_apart, line, lines_here, steps_left, i * step_count, Steps());
      line += lines_apart * stride;
    }
  }

  template <bool as_whole, bool has_all_steps, int... s>
  __device__ void fetch_steps(T* to, const T* line, int lines_here, int steps_left, int first_held,
                              std::integer_sequence<int, s...>) {
    (fetch_step<as_whole, s * steps_apart>(to + s * (steps_apart * pitch), line, first_held + s,
                                           lines_here > 0 && (has_all_steps || steps_left > step + s * steps_apart),
                                           lines_here),
     ...);
  }

  template <bool as_whole, int steps_on>
  __device__ void fetch_step(T* to, const T* source, int index, bool is_inside, int lines_here) {
    constexpr int offset_bytes = has_contiguous_lines ? steps_on * sizeof(T) : 0;
    if constexpr (!has_contiguous_lines) source += steps_on * stride;
    if constexpr (as_whole && has_async_copies) {
      copy_async<copied * sizeof(T), offset_bytes>(to, source, is_inside);
    } else {
#pragma unroll
      for (int e = 0; e < copied; ++e) {
        bool is_wanted = is_inside && (as_whole || e < lines_here);
        if constexpr (has_async_copies)
          copy_async<sizeof(T)>(to + e, source + e, is_wanted);
        else
          held[index][e] = is_wanted ? source[offset_bytes / sizeof(T) + e] : T(0);
      }
    }
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
