// From global to shared memory: the lines of a factor that a tile needs, a stage of `depth` steps at a time.
#pragma once
#include <ptx.cuh>
#include "tile.cuh"

namespace MINIDL_TARGET {
namespace {

// Contiguous lines lie in shared memory as panels of four vectors a line. A warp reads the same vector of `lanes` lines
// whose numbers are a vector apart, and copies all four vectors of neighbouring rows: it meets no bank twice if those
// lines take neighbouring rows, and if the vectors of a row are exchanged as every second row of eight says.
template <typename T, int lanes>
struct PanelLayout {
  static constexpr int group = lanes * vector_size<T>;
  static __device__ int line_of_row(int row) {
    return row / group * group + row % lanes * vector_size<T> + row / lanes % vector_size<T>;
  }
  static constexpr __device__ int exchange_of_row(int row) { return row / 2 % panel_vectors; }
};

// Where the lines lie side by side, a row holds a step of all lines. For tensor cores two lanes read neighbouring
// vectors of each of four rows that are four apart: these take different banks.
template <bool for_tensor_cores>
constexpr __device__ int exchange_of_step(int step) {
  return for_tensor_cores ? step / 4 % 4 * 2 : 0;
}

// A stage is [depth / panel_depth][lines][panel_depth] if the lines are contiguous, else [depth][lines].
template <class Tile, int lines, int lanes, bool has_contiguous_lines>
class Loader {
  using T = typename Tile::T;
  static constexpr int size = vector_size<T>, depth = Tile::depth, threads = Tile::threads;
  static constexpr int vectors = lines * depth / size / threads;
  static constexpr int row_vectors = has_contiguous_lines ? panel_vectors : lines / size;
  static constexpr int rows_apart = threads / row_vectors;  // from one vector of a thread to its next
  using Panels = PanelLayout<T, lanes>;

  const T* from;  // the thread's first vector of the next stage
  int64_t stride;
  int line, step, to, lines_left;  // of the thread's first vector; lines_left from its own line on
  bool is_vectorized;
  Vector<T> held[vectors];  // between fetch and deposit, where no copy is asynchronous

 public:
  __device__ Loader(const Factor<T>& factor, bool is_vectorized, int64_t batch, int64_t first_line, int64_t first_step)
      : stride(factor.stride()), is_vectorized(is_vectorized) {
    int row = threadIdx.x / row_vectors, vector = threadIdx.x % row_vectors;
    if constexpr (has_contiguous_lines) {
      static_assert(rows_apart % lines == 0 || lines % rows_apart == 0);
      int panel = row / lines;
      row %= lines;
      line = Panels::line_of_row(row);
      step = panel * panel_depth<T> + vector * size;
      to = (panel * lines + row) * panel_depth<T> + (vector ^ Panels::exchange_of_row(row)) * size;
    } else {
      line = vector * size;
      step = row;
      to = row * lines + line;
    }
    int64_t left = factor.lines - first_line;
    lines_left = (left < lines ? (int)left : lines) - line;
    from = factor.data + batch * factor.batch_stride;
    from += has_contiguous_lines ? (first_line + line) * stride + first_step + step
                                 : (first_step + step) * stride + first_line + line;
  }

  // Starts to bring the next steps, of which so many are left, to `stage`.
  __device__ void fetch(T* stage, int steps_left) {
    if (is_vectorized)
      fetch_all<true>(stage, steps_left);
    else
      fetch_all<false>(stage, steps_left);
    from += has_contiguous_lines ? depth : depth * stride;
  }

  // Writes what fetch has read, where no copy is asynchronous.
  __device__ void deposit(T* stage) {
    if constexpr (!has_async_copies) {
#pragma unroll
      for (int i = 0; i < vectors; ++i) *(Vector<T>*)(stage + place(i)) = held[i];
    }
  }

 private:
  __device__ int place(int i) const {
    if constexpr (has_contiguous_lines) return to + i * rows_apart * panel_depth<T>;
    int row = step + i * rows_apart;
    return to + i * rows_apart * lines + (line ^ exchange_of_step<Tile::uses_tensor_cores>(row) * size) - line;
  }

  template <bool whole_vectors>
  __device__ void fetch_all(T* stage, int steps_left) {
#pragma unroll
    for (int i = 0; i < vectors; ++i) {
      constexpr bool is_deep = has_contiguous_lines && rows_apart >= lines;
      int more_lines = has_contiguous_lines && !is_deep ? i * rows_apart : 0;
      int more_steps = has_contiguous_lines ? (is_deep ? i * rows_apart / lines * panel_depth<T> : 0) : i * rows_apart;
      const T* source = from + (has_contiguous_lines ? more_lines * stride + more_steps : more_steps * stride);
      fetch_vector<whole_vectors>(i, stage, source, lines_left - more_lines, steps_left - (step + more_steps));
    }
  }

  // What lies outside of the matrix or of the block's steps becomes 0.
  template <bool whole_vector>
  __device__ void fetch_vector(int i, T* stage, const T* source, int lines_here, int steps_here) {
    bool is_inside = lines_here > 0 && steps_here > 0;
    if constexpr (whole_vector) {
      if constexpr (has_async_copies)
        copy_async<vector_bytes>(stage + place(i), source, is_inside);
      else
        held[i] = is_inside ? *(const Vector<T>*)source : Vector<T>{};
    } else {
#pragma unroll
      for (int e = 0; e < size; ++e) {
        bool is_wanted = is_inside && e < (has_contiguous_lines ? steps_here : lines_here);
        if constexpr (has_async_copies)
          copy_async<sizeof(T)>(stage + place(i) + e, source + e, is_wanted);
        else
          held[i].values[e] = is_wanted ? source[e] : T(0);
      }
    }
  }
};

}  // namespace
}  // namespace MINIDL_TARGET
