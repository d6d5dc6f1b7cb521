// The one place where a CUDA kernel is launched and the launch is checked.
#pragma once
#include <cuda_runtime.h>
#include <stdint.h>
#include <shared.cuh>  // not "shared.cuh": the include path decides, and the emulator has its own

#include "stream.h"

namespace minidl {

// Thrown by launch(); submit.h turns it into Python's RuntimeError with the name of the kernel.
struct LaunchError {
  cudaError_t code;
};

// Split counts are made for this many multiprocessors (an H100's) on every GPU: results do not depend on the card.
constexpr int multiprocessors = 132;

constexpr int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Queues kernel(arguments...) on blocks x threads with so much dynamic shared memory; `cluster` blocks that follow each
// other may read each other's, from sm_90 on. An empty grid is no launch. Every kernel begins with
// follow_earlier_kernels().
template <typename... Parameters, typename... Arguments>
void launch_in_clusters(Stream stream, unsigned cluster, dim3 blocks, dim3 threads, size_t shared_bytes,
                        void (*kernel)(Parameters...), Arguments... arguments) {
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0) return;
  constexpr size_t without_asking = 40 << 10;  // 48 KiB with the kernel's own arrays
  cudaError_t error = cudaSuccess;
  if (blocks.x > 0x7fffffffu || blocks.y > 65535 || blocks.z > 65535 || threads.x * threads.y * threads.z > 1024)
    error = cudaErrorInvalidConfiguration;
  if (error == cudaSuccess && shared_bytes > without_asking)
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes);
  if (error == cudaSuccess) {
    cudaLaunchAttribute of_cluster = {};
    of_cluster.id = cudaLaunchAttributeClusterDimension;
    of_cluster.val.clusterDim = {cluster, 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = blocks;
    config.blockDim = threads;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream.handle;
    config.attrs = &of_cluster;
    config.numAttrs = cluster > 1 ? 1 : 0;
    error = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  }
  if (error != cudaSuccess) throw LaunchError{error};
}

template <typename... Parameters, typename... Arguments>
void launch_with_shared(Stream stream, dim3 blocks, dim3 threads, size_t shared_bytes, void (*kernel)(Parameters...),
                        Arguments... arguments) {
  launch_in_clusters(stream, 1, blocks, threads, shared_bytes, kernel, arguments...);
}

template <typename... Parameters, typename... Arguments>
void launch(Stream stream, dim3 blocks, dim3 threads, void (*kernel)(Parameters...), Arguments... arguments) {
  launch_with_shared(stream, blocks, threads, 0, kernel, arguments...);
}

// Zeroes device memory, in stream order.
inline void clear(Stream stream, void* data, size_t bytes) {
  cudaError_t error = cudaMemsetAsync(data, 0, bytes, stream.handle);
  if (error != cudaSuccess) throw LaunchError{error};
}

}  // namespace minidl
