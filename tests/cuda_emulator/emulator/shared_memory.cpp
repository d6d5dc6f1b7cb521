// A block's shared memory. Compiled without sanitizers: they watch what kernels do with it, not how it is laid out.
#include "shared_memory.h"

#include <sys/mman.h>

#include <new>

#include "sanitizers.h"

namespace emulator {
namespace {

constexpr size_t memory_bytes = 1 << 20;  // the largest of any GPU, and fences
constexpr size_t fence_bytes = 64;
constexpr unsigned char nan_byte = 0xff;  // of arrays and fences alike: who reads a fence computes with nan

// Not memset: the sanitizers would take it for a thread's access.
void fill(unsigned char* data, unsigned char byte, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) const_cast<volatile unsigned char*>(data)[i] = byte;
}

void* map(void* where, size_t bytes) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (where ? MAP_FIXED : 0);
  void* memory = mmap(where, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return memory;
}

}  // namespace

SharedMemory::SharedMemory() : memory_(static_cast<unsigned char*>(map(nullptr, memory_bytes))) {
  forbid(memory_, memory_bytes);
}

void SharedMemory::clear() {
  // Fresh pages: the threads of the block before never touched them.
  if (has_race_check() && end_ > 0) map(memory_, end_ + fence_bytes);
  forbid(memory_, end_);
  arrays_.clear();
  end_ = used_bytes_ = 0;
}

void* SharedMemory::array(const void* declaration, size_t bytes, size_t alignment, Site site) {
  for (const Array& array : arrays_)
    if (array.declaration == declaration) return array.data;
  auto aligned = [](size_t offset, size_t to) { return (offset + to - 1) / to * to; };
  size_t begin = aligned(end_ + fence_bytes, alignment < 16 ? 16 : alignment), end = begin + bytes;
  if (end + fence_bytes > memory_bytes) fail(site, "%zu bytes of shared memory are beyond any GPU", bytes);
  fill(memory_ + end_, nan_byte, begin - end_);
  fill(memory_ + begin, nan_byte, bytes);
  fill(memory_ + end, nan_byte, fence_bytes);
  allow(memory_ + begin, bytes);
  end_ = end;
  used_bytes_ = aligned(used_bytes_, alignment) + bytes;
  arrays_.push_back({declaration, memory_ + begin, bytes, site});
  return memory_ + begin;
}

std::string SharedMemory::broken_fence() const {
  for (const Array& array : arrays_)
    for (size_t i = 0; i < fence_bytes; ++i) {
      bool is_before = array.data[-1 - (ptrdiff_t)i] != nan_byte, is_behind = array.data[array.bytes + i] != nan_byte;
      if (is_before || is_behind)
        return "out of bounds: byte " + std::to_string(i + 1) + (is_before ? " before" : " behind") +
               " the shared array declared at " + array.site.file + ":" + std::to_string(array.site.line) + " (" +
               std::to_string(array.bytes) + " bytes) was written";
    }
  return {};
}

}  // namespace emulator
