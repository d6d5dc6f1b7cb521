// Free lists by size class: powers of two with three steps between, 64-byte aligned; large blocks on huge pages. The
// interpreter lock guards them.
#include "memory_pool.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace py = pybind11;

namespace minidl {
namespace {

constexpr size_t alignment_bytes = 64;
// From here on a block lies on huge pages where the system gives them on request: with pages of 4 KiB one thread reads
// 50 MB at 20 GB/s, with these at 32 (Zen 4).
constexpr size_t huge_page_bytes = 2 << 20, huge_block_bytes = 2 * huge_page_bytes;
constexpr int max_dims_of_numpy = 64;

// Never destroyed: arrays may outlive the module at exit.
auto& free_lists = *new std::array<std::vector<void*>, 64 * 4>;
size_t bytes_in_use = 0, bytes_idle = 0;

struct SizeClass {
  int index;
  size_t bytes;
};

// The smallest class that holds `bytes`: (4 + quarter) / 4 * 2^exponent, so at most a fifth of a block is wasted.
SizeClass size_class_of(size_t bytes) {
  if (bytes <= 4 * alignment_bytes) {
    int blocks = bytes == 0 ? 1 : (int)((bytes + alignment_bytes - 1) / alignment_bytes);
    return {blocks - 1, blocks * alignment_bytes};
  }
  int exponent = std::bit_width(bytes - 1) - 1;
  size_t quarter_bytes = (size_t)1 << (exponent - 2);
  size_t quarters = (bytes + quarter_bytes - 1) / quarter_bytes;  // 5 .. 8
  return {exponent * 4 + (int)(quarters - 5), quarters * quarter_bytes};
}

void* allocate(size_t bytes) {
  if (bytes < huge_block_bytes) return std::aligned_alloc(alignment_bytes, bytes);
  void* data = std::aligned_alloc(huge_page_bytes, bytes);
#if defined(MADV_HUGEPAGE)
  // A system without huge pages refuses, and the block is as good as any other.
  if (data != nullptr) madvise(data, bytes / huge_page_bytes * huge_page_bytes, MADV_HUGEPAGE);
#endif
  return data;
}

void* take(SizeClass size_class) {
  auto& list = free_lists[size_class.index];
  bytes_in_use += size_class.bytes;
  if (!list.empty()) {
    void* data = list.back();
    list.pop_back();
    bytes_idle -= size_class.bytes;
    return data;
  }
  void* data = allocate(size_class.bytes);
  if (data == nullptr) {
    release_idle_memory();
    data = allocate(size_class.bytes);
  }
  if (data == nullptr) {
    bytes_in_use -= size_class.bytes;
    PyErr_Format(PyExc_MemoryError, "out of memory: %zu bytes asked for", size_class.bytes);
    throw py::error_already_set();
  }
  return data;
}

void give_back(void* data, SizeClass size_class) {
  bytes_in_use -= size_class.bytes;
  bytes_idle += size_class.bytes;
  free_lists[size_class.index].push_back(data);
}

// The arena of the step being recorded in this thread.
thread_local std::shared_ptr<Arena> arena_in_use;

// Where a block returns to: the pool, or its arena.
struct Origin {
  size_t bytes;
  std::shared_ptr<Arena> arena;
};

// A capsule's context is the size of its block, or, marked by the lowest bit, its Origin.
constexpr uintptr_t is_origin = 1;

void* take_from_arena(SizeClass size_class) {
  auto& idle = arena_in_use->idle[size_class.bytes];
  void* data = idle.empty() ? take(size_class) : idle.back();
  if (!idle.empty()) idle.pop_back();
  arena_in_use->handed_out.emplace_back(data, size_class.bytes);
  return data;
}

// The array's base: gives the memory back when the last view is gone.
void capsule_destructor(PyObject* capsule) {
  void* data = PyCapsule_GetPointer(capsule, nullptr);
  auto context = (uintptr_t)PyCapsule_GetContext(capsule);
  if (!(context & is_origin)) return give_back(data, size_class_of((size_t)context));
  std::unique_ptr<Origin> origin((Origin*)(context & ~is_origin));
  origin->arena->idle[origin->bytes].push_back(data);
}

py::ssize_t extent_of(PyObject* object) {
  py::ssize_t extent = PyNumber_AsSsize_t(object, PyExc_OverflowError);
  if (extent == -1 && PyErr_Occurred()) throw py::error_already_set();
  if (extent < 0) throw py::value_error("empty(): extents must not be negative, got " + std::to_string(extent));
  return extent;
}

}  // namespace

py::object empty_array(py::handle shape, const py::dtype& dtype) {
  py::ssize_t extents[max_dims_of_numpy];
  int dims = 0;
  if (PyTuple_Check(shape.ptr()) || PyList_Check(shape.ptr())) {
    for (py::handle extent : shape) {
      if (dims == max_dims_of_numpy) throw py::value_error("empty(): an array has at most 64 dimensions");
      extents[dims++] = extent_of(extent.ptr());
    }
  } else {
    extents[dims++] = extent_of(shape.ptr());
  }
  size_t bytes = (size_t)dtype.itemsize();
  for (int i = 0; i < dims; ++i)
    if (__builtin_mul_overflow(bytes, (size_t)extents[i], &bytes) || bytes > ((size_t)1 << 60)) {
      PyErr_SetString(PyExc_MemoryError, "empty(): the shape asks for more memory than can be addressed");
      throw py::error_already_set();
    }

  SizeClass size_class = size_class_of(bytes);
  void* data = arena_in_use ? take_from_arena(size_class) : take(size_class);
  auto capsule = py::reinterpret_steal<py::object>(PyCapsule_New(data, nullptr, nullptr));
  if (!capsule) {
    give_back(data, size_class);
    throw py::error_already_set();
  }
  void* context = (void*)(uintptr_t)size_class.bytes;
  if (arena_in_use) context = (void*)((uintptr_t)new Origin{size_class.bytes, arena_in_use} | is_origin);
  PyCapsule_SetContext(capsule.ptr(), context);
  PyCapsule_SetDestructor(capsule.ptr(), capsule_destructor);

  // NumPy's own constructor: py::array's costs as much again.
  auto& numpy = py::detail::npy_api::get();
  py::dtype descriptor = dtype;
  constexpr int flags = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
                        py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  auto array = py::reinterpret_steal<py::object>(numpy.PyArray_NewFromDescr_(
      numpy.PyArray_Type_, descriptor.release().ptr(), dims, extents, nullptr, data, flags, nullptr));
  if (!array) throw py::error_already_set();
  numpy.PyArray_SetBaseObject_(array.ptr(), capsule.release().ptr());
  return array;
}

Arena::~Arena() {
  for (auto& [bytes, blocks] : idle)
    for (void* data : blocks) give_back(data, size_class_of(bytes));
}

std::shared_ptr<Arena> begin_arena() { return arena_in_use = std::make_shared<Arena>(); }
void end_arena() { arena_in_use.reset(); }

std::pair<size_t, size_t> pooled_bytes() { return {bytes_in_use, bytes_idle}; }

void release_idle_memory() {
  for (auto& list : free_lists) {
    for (void* data : list) std::free(data);
    list.clear();
  }
  bytes_idle = 0;
}

}  // namespace minidl
