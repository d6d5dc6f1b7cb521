// Free lists by size: powers of two with three steps between, 64-byte aligned. The interpreter lock guards them.
#include "memory_pool.h"

#include <bit>
#include <cstdlib>
#include <map>
#include <new>
#include <string>
#include <vector>

namespace py = pybind11;

namespace minidl {
namespace {

constexpr size_t alignment_bytes = 64;

struct Block {
  void* data;
  size_t bytes;
};

// Never destroyed: arrays may outlive the module at exit.
auto& free_lists = *new std::map<size_t, std::vector<Block*>>;
size_t bytes_in_use = 0, bytes_idle = 0;

// At most a quarter of a block is wasted.
size_t rounded_up(size_t bytes) {
  if (bytes <= alignment_bytes) return alignment_bytes;
  size_t step = std::bit_ceil(bytes) / 8;
  if (step < alignment_bytes) step = alignment_bytes;
  return (bytes + step - 1) / step * step;
}

Block* take(size_t bytes) {
  auto& list = free_lists[bytes];
  bytes_in_use += bytes;
  if (!list.empty()) {
    Block* block = list.back();
    list.pop_back();
    bytes_idle -= bytes;
    return block;
  }
  void* data = std::aligned_alloc(alignment_bytes, bytes);
  if (data == nullptr) {
    release_idle_memory();
    data = std::aligned_alloc(alignment_bytes, bytes);
  }
  if (data == nullptr) {
    bytes_in_use -= bytes;
    PyErr_Format(PyExc_MemoryError, "out of memory: %zu bytes asked for", bytes);
    throw py::error_already_set();
  }
  return new Block{data, bytes};
}

void give_back(void* opaque) {
  Block* block = static_cast<Block*>(opaque);
  bytes_in_use -= block->bytes;
  bytes_idle += block->bytes;
  free_lists[block->bytes].push_back(block);
}

}  // namespace

py::array empty_array(py::handle shape, py::dtype dtype) {
  std::vector<py::ssize_t> extents;
  if (py::isinstance<py::tuple>(shape) || py::isinstance<py::list>(shape))
    for (py::handle extent : shape) extents.push_back(extent.cast<py::ssize_t>());
  else
    extents.push_back(shape.cast<py::ssize_t>());
  size_t bytes = dtype.itemsize();
  for (py::ssize_t extent : extents) {
    if (extent < 0) throw py::value_error("empty(): extents must not be negative, got " + std::to_string(extent));
    if (__builtin_mul_overflow(bytes, (size_t)extent, &bytes) || bytes > ((size_t)1 << 60)) {
      PyErr_SetString(PyExc_MemoryError, "empty(): the shape asks for more memory than can be addressed");
      throw py::error_already_set();
    }
  }
  Block* block = take(rounded_up(bytes));
  return py::array(dtype, extents, block->data, py::capsule(block, give_back));
}

std::pair<size_t, size_t> pooled_bytes() { return {bytes_in_use, bytes_idle}; }

void release_idle_memory() {
  for (auto& [bytes, list] : free_lists) {
    for (Block* block : list) {
      std::free(block->data);
      delete block;
    }
    list.clear();
  }
  bytes_idle = 0;
}

}  // namespace minidl
