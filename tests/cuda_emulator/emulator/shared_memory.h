// A block's shared memory: arrays between fences, full of nan at first.
#pragma once
#include <stddef.h>

#include <string>
#include <vector>

#include "thread.h"

namespace emulator {

class SharedMemory {
 public:
  SharedMemory();
  // A new block begins: no array is left.
  void clear();
  // The array of a declaration; laid out at its first use in a block.
  void* array(const void* declaration, size_t bytes, size_t alignment, Site site);
  size_t used_bytes() const { return used_bytes_; }
  // Names the array whose fence was written to, if any was; empty otherwise.
  std::string broken_fence() const;

 private:
  struct Array {
    const void* declaration;
    unsigned char* data;
    size_t bytes;
    Site site;
  };
  std::vector<Array> arrays_;
  unsigned char* memory_;
  size_t end_ = 0, used_bytes_ = 0;
};

}  // namespace emulator
