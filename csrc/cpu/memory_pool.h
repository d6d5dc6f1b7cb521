// Pooled memory for arrays: a fresh page costs more than the kernel that fills it.
#pragma once
#include <pybind11/numpy.h>

#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace minidl {

// shape: an int or a tuple of ints. The memory returns to the pool when the array and all its views are gone.
pybind11::object empty_array(pybind11::handle shape, const pybind11::dtype& dtype);
std::pair<size_t, size_t> pooled_bytes();
void release_idle_memory();

// Memory of a recorded step: what is freed while it is recorded serves the step again, but nobody else as long as the
// plan, or an array that the step left behind, is alive.
struct Arena {
  std::unordered_map<size_t, std::vector<void*>> idle;  // by bytes of a block
  std::vector<std::pair<void*, size_t>> handed_out;     // since someone last looked
  ~Arena();
};
std::shared_ptr<Arena> begin_arena();
void end_arena();

}  // namespace minidl
