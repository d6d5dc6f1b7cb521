// Device memory for arrays, from CuPy's pool; a recorded step has a pool of its own.
#pragma once
#include <pybind11/numpy.h>

#include <memory>
#include <utility>
#include <vector>

namespace minidl {

// shape: an int or a tuple of ints. MemoryError where the GPU has no such memory left.
pybind11::object empty_array(pybind11::handle shape, const pybind11::dtype& dtype);
std::pair<size_t, size_t> pooled_bytes();
void release_idle_memory();

// Memory of a recorded step: what is freed while it is recorded serves the step again, but nobody else.
struct Arena {
  pybind11::object pool;
  std::vector<std::pair<void*, size_t>> handed_out;  // since someone last looked
};
std::shared_ptr<Arena> begin_arena();
void end_arena();

}  // namespace minidl
