// Pooled memory for arrays: a fresh page costs more than the kernel that fills it.
#pragma once
#include <pybind11/numpy.h>

#include <utility>

namespace minidl {

// shape: an int or a tuple of ints. The memory returns to the pool when the array and all its views are gone.
pybind11::object empty_array(pybind11::handle shape, const pybind11::dtype& dtype);
std::pair<size_t, size_t> pooled_bytes();
void release_idle_memory();

}  // namespace minidl
