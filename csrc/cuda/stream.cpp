// The stream that kernels are queued on, and its memory for partial results.
#include "stream.h"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "array_library.h"
#include "check.h"
#include "scratch.h"

namespace minidl {

namespace {
std::atomic<bool> allows_tf32{false}, allows_bfloat16{false};
// Of the compute capability: tensor cores that multiply TF32 and bfloat16; blocks that read each other's shared memory;
// kernels of a graph that start while those before them run.
constexpr int least_major_for_rounded_products = 8, least_major_for_clusters = 9, least_major_for_early_starts = 9;
}  // namespace

void set_allows_tf32(bool allows) { allows_tf32.store(allows, std::memory_order_relaxed); }
void set_allows_bfloat16(bool allows) { allows_bfloat16.store(allows, std::memory_order_relaxed); }

Scratch::~Scratch() {
  if (data_) cudaFree(data_);
}

Stream Scratch::stream(cudaStream_t handle) {
  constexpr size_t counters_bytes = arrival_count * sizeof(unsigned);
  if (!data_) {
    check(cudaMalloc(&data_, counters_bytes + scratch_bytes), "cudaMalloc of scratch memory");
    check(cudaMemset(data_, 0, counters_bytes), "cudaMemset of scratch memory");
    int device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    check(cudaDeviceGetAttribute(&major_, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
    check(cudaDeviceGetAttribute(&minor_, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
  }
  Stream stream{handle, static_cast<char*>(data_) + counters_bytes, static_cast<unsigned*>(data_)};
  const bool has_rounded_products = major_ >= least_major_for_rounded_products;
  stream.allows_tf32 = has_rounded_products && allows_tf32.load(std::memory_order_relaxed);
  stream.allows_bfloat16 = has_rounded_products && allows_bfloat16.load(std::memory_order_relaxed);
  stream.has_clusters = major_ >= least_major_for_clusters;
  stream.has_early_starts = major_ >= least_major_for_early_starts;
  stream.has_warpgroup_products = major_ == 9 && minor_ == 0;
  return stream;
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
