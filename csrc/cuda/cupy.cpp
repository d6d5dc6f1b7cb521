// CuPy as the owner of device arrays: reads its ndarray, asks for its current stream and its memory.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <string>

#include "array_library.h"
#include "check.h"
#include "memory_pool.h"
#include "numpy_dtype.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace minidl {
namespace {

// Looked up once; never freed, because the interpreter may be gone when static objects end.
struct CuPy {
  py::object ndarray, current_stream, out_of_memory, new_pool, default_pool;
  py::str data{"data"}, ptr{"ptr"}, device_id{"device_id"}, shape{"shape"}, strides{"strides"}, dtype{"dtype"},
      flags{"flags"}, c_contiguous{"c_contiguous"};

  CuPy() {
    py::module_ cupy = py::module_::import("cupy"), cuda = py::module_::import("cupy.cuda");
    ndarray = cupy.attr("ndarray");
    current_stream = cuda.attr("get_current_stream");
    out_of_memory = cuda.attr("memory").attr("OutOfMemoryError");
    new_pool = cuda.attr("MemoryPool");
    default_pool = cupy.attr("get_default_memory_pool")();
  }
};

const CuPy& cupy() {
  static const CuPy& names = *new CuPy;
  return names;
}

// Shape and strides of one array, which CuPy gives as new tuples at every question.
struct Extents {
  std::array<int64_t, 64> shape, strides;
};

thread_local std::shared_ptr<Arena> arena_under_way;

int64_t bytes_of(py::handle shape, const py::dtype& dtype) {
  int64_t bytes = dtype.itemsize();
  if (py::isinstance<py::int_>(shape)) return bytes * shape.cast<int64_t>();
  for (py::handle extent : shape) bytes *= extent.cast<int64_t>();
  return bytes;
}

[[noreturn]] void throw_out_of_memory(int64_t bytes) {
  size_t free = 0, total = 0;
  std::string text = "the GPU has no " + std::to_string(bytes) + " bytes left for an array";
  if (cudaMemGetInfo(&free, &total) == cudaSuccess)
    text += ": " + std::to_string(free) + " of " + std::to_string(total) + " bytes are free, and CuPy's pool holds " +
            std::to_string(pooled_bytes().second) + " idle ones";
  PyErr_SetString(PyExc_MemoryError, (text + "; a smaller batch needs less").c_str());
  throw py::error_already_set();
}

}  // namespace

Array array_from_python(py::handle source) {
  Array array;
  if (source.is_none()) return array;
  const CuPy& names = cupy();
  if (!PyObject_TypeCheck(source.ptr(), (PyTypeObject*)names.ndarray.ptr()))
    throw DTypeError(std::string("a kernel of the GPU takes cupy.ndarray, got ") + Py_TYPE(source.ptr())->tp_name);
  py::object memory = source.attr(names.data);
  int device = 0, owner = memory.attr(names.device_id).cast<int>();
  check(cudaGetDevice(&device), "cudaGetDevice");
  if (owner != device)
    throw DTypeError("an array of GPU " + std::to_string(owner) + " was given to a kernel while GPU " +
                     std::to_string(device) + " is the current one");
  auto extents = std::make_shared<Extents>();
  py::tuple shape = source.attr(names.shape), strides = source.attr(names.strides);
  array.dims = (int)shape.size();
  for (int axis = 0; axis < array.dims; ++axis) {
    extents->shape[axis] = shape[axis].cast<int64_t>();
    extents->strides[axis] = strides[axis].cast<int64_t>();
  }
  py::dtype dtype = py::object(source.attr(names.dtype));
  array.data = (void*)memory.attr(names.ptr).cast<uintptr_t>();
  array.shape = extents->shape.data();
  array.strides_bytes = extents->strides.data();
  array.keeps = std::move(extents);
  array.dtype = dtype_from_type_number(dtype.num());
  array.itemsize = (int)dtype.itemsize();
  array.is_contiguous = source.attr(names.flags).attr(names.c_contiguous).cast<bool>();
  array.is_given = true;
  array.owner = source.ptr();
  return array;
}

cudaStream_t current_stream_handle() {
  return (cudaStream_t)cupy().current_stream().attr(cupy().ptr).cast<uintptr_t>();
}

py::object empty_array(py::handle shape, const py::dtype& dtype) {
  const CuPy& names = cupy();
  require_alive("empty");
  try {
    if (!arena_under_way) return names.ndarray(shape, dtype);
    int64_t bytes = bytes_of(shape, dtype);
    py::object memory = arena_under_way->pool.attr("malloc")(bytes);
    arena_under_way->handed_out.push_back({(void*)memory.attr(names.ptr).cast<uintptr_t>(), (size_t)bytes});
    return names.ndarray(shape, dtype, memory);
  } catch (py::error_already_set& error) {
    if (!error.matches(names.out_of_memory)) throw;
    throw_out_of_memory(bytes_of(shape, dtype));
  }
}

std::pair<size_t, size_t> pooled_bytes() {
  const py::object& pool = cupy().default_pool;
  return {pool.attr("used_bytes")().cast<size_t>(), pool.attr("free_bytes")().cast<size_t>()};
}

void release_idle_memory() { cupy().default_pool.attr("free_all_blocks")(); }

std::shared_ptr<Arena> begin_arena() {
  arena_under_way = std::make_shared<Arena>(Arena{cupy().new_pool(), {}});
  return arena_under_way;
}

void end_arena() { arena_under_way.reset(); }

}  // namespace minidl
