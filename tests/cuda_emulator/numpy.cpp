// NumPy in CuPy's place (csrc/cuda/cupy.cpp): its arrays are the device arrays of the emulated GPU. Each has memory of
// exactly its size, full of nan, so that the address sanitizer sees every access beyond it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "array_library.h"
#include "check.h"
#include "memory_pool.h"
#include "numpy_dtype.h"

namespace py = pybind11;
using py::detail::npy_api;

namespace minidl {
namespace {

size_t bytes_in_use = 0;

// The memory of a recorded step: graphs keep its addresses, so it is not freed while the step can be replayed.
struct Kept {
  std::map<size_t, std::vector<void*>> idle;
  ~Kept() {
    for (auto& [bytes, blocks] : idle)
      for (void* data : blocks) cudaFree(data);
  }
};

// What an array's capsule frees, or gives back to the step that it was made in.
struct Block {
  void* data;
  size_t bytes;
  std::shared_ptr<Kept> kept;

  ~Block() {
    bytes_in_use -= bytes;
    if (kept)
      kept->idle[bytes].push_back(data);
    else
      cudaFree(data);
  }
};

thread_local std::shared_ptr<Arena> arena_under_way;

std::shared_ptr<Kept>& kept_by(const Arena& arena) {
  return *static_cast<std::shared_ptr<Kept>*>(PyCapsule_GetPointer(arena.pool.ptr(), nullptr));
}

void* take(size_t bytes) {
  if (arena_under_way) {
    auto& idle = kept_by(*arena_under_way)->idle[bytes];
    if (!idle.empty()) {
      void* data = idle.back();
      idle.pop_back();
      return data;
    }
  }
  void* data = nullptr;
  cudaError_t error = cudaMalloc(&data, bytes > 0 ? bytes : 1);
  if (error == cudaSuccess) return data;
  if (error != cudaErrorMemoryAllocation) check(error, "empty");
  cudaGetLastError();
  PyErr_SetString(PyExc_MemoryError, ("the GPU has no " + std::to_string(bytes) + " bytes left for an array").c_str());
  throw py::error_already_set();
}

}  // namespace

Array array_from_python(py::handle source) {
  Array array;
  if (source.is_none()) return array;
  if (!py::isinstance<py::array>(source))
    throw DTypeError(std::string("a kernel of the GPU takes numpy.ndarray here, got ") +
                     Py_TYPE(source.ptr())->tp_name);
  const auto* proxy = py::detail::array_proxy(source.ptr());
  auto descriptor = py::reinterpret_borrow<py::dtype>(proxy->descr);
  array.data = proxy->data;
  array.dims = proxy->nd;
  array.shape = reinterpret_cast<const int64_t*>(proxy->dimensions);
  array.strides_bytes = reinterpret_cast<const int64_t*>(proxy->strides);
  if (array.size() == 0) array.data = nullptr;  // as with CuPy
  array.dtype = dtype_from_type_number(descriptor.num());
  array.itemsize = (int)descriptor.itemsize();
  array.is_contiguous = (proxy->flags & npy_api::NPY_ARRAY_C_CONTIGUOUS_) != 0;
  array.is_given = true;
  array.owner = source.ptr();
  return array;
}

cudaStream_t current_stream_handle() { return nullptr; }

py::object empty_array(py::handle shape, const py::dtype& dtype) {
  require_alive("empty");
  std::vector<py::ssize_t> extents;
  if (py::isinstance<py::sequence>(shape))
    extents = shape.cast<std::vector<py::ssize_t>>();
  else
    extents.push_back(shape.cast<py::ssize_t>());
  auto bytes = (size_t)dtype.itemsize();
  for (py::ssize_t extent : extents) {
    if (extent < 0) throw py::value_error("empty(): extents must not be negative, got " + std::to_string(extent));
    if (__builtin_mul_overflow(bytes, (size_t)extent, &bytes)) bytes = SIZE_MAX / 2;
  }
  std::unique_ptr<Block> block(new Block{take(bytes), bytes, nullptr});
  bytes_in_use += bytes;
  if (arena_under_way) {
    block->kept = kept_by(*arena_under_way);
    arena_under_way->handed_out.push_back({block->data, bytes});
  }
  void* data = block->data;
  py::capsule owner(block.release(), [](void* pointer) { delete static_cast<Block*>(pointer); });
  return py::array(dtype, std::move(extents), data, owner);
}

std::pair<size_t, size_t> pooled_bytes() { return {bytes_in_use, 0}; }

void release_idle_memory() {}

std::shared_ptr<Arena> begin_arena() {
  py::capsule pool(new std::shared_ptr<Kept>(std::make_shared<Kept>()),
                   [](void* pointer) { delete static_cast<std::shared_ptr<Kept>*>(pointer); });
  arena_under_way = std::make_shared<Arena>(Arena{pool, {}});
  return arena_under_way;
}

void end_arena() { arena_under_way.reset(); }

}  // namespace minidl
