// The stream that kernels are queued on, and its memory for partial results.
#include "stream.h"

#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "array_library.h"
#include "check.h"
#include "scratch.h"

namespace minidl {

Scratch::~Scratch() {
  if (data_) cudaFree(data_);
}

Stream Scratch::stream(cudaStream_t handle) {
  constexpr size_t counters_bytes = arrival_count * sizeof(unsigned);
  if (!data_) {
    check(cudaMalloc(&data_, counters_bytes + scratch_bytes), "cudaMalloc of scratch memory");
    check(cudaMemset(data_, 0, counters_bytes), "cudaMemset of scratch memory");
  }
  return {handle, static_cast<char*>(data_) + counters_bytes, static_cast<unsigned*>(data_)};
}

Stream current_stream() {
  // Never freed: the driver may be gone when static objects end.
  static auto& scratch_of = *new std::map<std::pair<int, cudaStream_t>, Scratch>;
  static std::mutex guard;
  require_alive("current_stream");
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  cudaStream_t handle = current_stream_handle();
  std::lock_guard lock(guard);
  return scratch_of[{device, handle}].stream(handle);
}

}  // namespace minidl
