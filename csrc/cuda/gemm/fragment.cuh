// From shared memory to registers: the lines of a factor that a thread multiplies, a vector of steps at a time.
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

}  // namespace
}  // namespace MINIDL_TARGET
