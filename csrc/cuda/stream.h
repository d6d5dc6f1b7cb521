// Where a CUDA kernel is queued, and the device memory that it may use for partial results.
#pragma once
#include <cuda_runtime_api.h>
#include <stddef.h>

namespace minidl {

constexpr size_t scratch_bytes = size_t(16) << 20;
constexpr int arrival_count = 4096;

struct Stream {
  cudaStream_t handle;
  void* scratch;       // scratch_bytes; kernels of one stream follow each other, so each may overwrite all of it
  unsigned* arrivals;  // arrival_count counters, zero before and after every kernel
  bool allows_tf32 = false, allows_bfloat16 = false;  // float32 products may round their factors so, from sm_80 on
  bool has_clusters = false;                          // of blocks that share their shared memory, from sm_90 on
  bool has_early_starts = false;                      // of kernels that follow others in a graph, from sm_90 on
  bool has_warpgroup_products = false;                // of compute capability 9.0, which no later GPU has
};

// CuPy's current stream with the scratch memory that belongs to it, and the freedom that the settings give.
Stream current_stream();

void set_allows_tf32(bool allows);
void set_allows_bfloat16(bool allows);

}  // namespace minidl
