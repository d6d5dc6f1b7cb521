// One growing buffer per thread; a fresh one per call would cost page faults, more than the packing itself.
#include "scratch.h"

#include <new>

namespace minidl {
namespace {

constexpr std::align_val_t alignment{4096};

struct Buffer {
  void* data = nullptr;
  size_t bytes = 0;

  void grow(size_t wanted) {
    ::operator delete(data, alignment);
    data = nullptr;  // stays consistent if the next line throws
    bytes = 0;
    data = ::operator new(wanted, alignment);
    bytes = wanted;
  }
  ~Buffer() { ::operator delete(data, alignment); }
};

thread_local Buffer buffer;

}  // namespace

void* scratch_memory(size_t bytes) {
  if (buffer.bytes < bytes) buffer.grow(bytes);
  return buffer.data;
}

}  // namespace minidl
