// What belongs to a stream: device memory for partial results, with the counters of blocks that have arrived.
#pragma once
#include "stream.h"

namespace minidl {

class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch();

  // The stream with this memory, which is taken at the first call.
  Stream stream(cudaStream_t handle);

 private:
  void* data_ = nullptr;
  int major_ = 0, minor_ = 0;  // of the GPU's compute capability
};

}  // namespace minidl
