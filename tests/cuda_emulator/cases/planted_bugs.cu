// Kernels that are wrong, each in one way: the emulator, or a sanitizer with its help, must say so.
#include <ptx.cuh>

#include "case.h"
#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

__global__ void shuffle_after_exit(float* x) {
  if (threadIdx.x >= 16) return;
  float value = x[threadIdx.x];
  value += __shfl_xor_sync(0xffffffffu, value, 8);
  x[threadIdx.x] = value;
}

__global__ void shuffle_from_absent_lane(float* x) {
  if (threadIdx.x < 16) x[threadIdx.x] = __shfl_sync(0x0000ffffu, x[threadIdx.x], 20);
}

__global__ void mask_without_caller(float* x) { x[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, x[threadIdx.x], 1); }

__global__ void overlapping_masks(float* x) {
  unsigned mask = threadIdx.x < 16 ? 0x0001ffffu : 0xffff0000u;
  x[threadIdx.x] = __shfl_xor_sync(mask, x[threadIdx.x], 0);
}

__global__ void two_instructions(float* x) {
  if (threadIdx.x < 16)
    x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
  else
    x[threadIdx.x] = (float)__ballot_sync(0xffffffffu, 1);
}

__global__ void shuffle_beside_barrier(float* x) {
  if (threadIdx.x < 16) __syncthreads();
  x[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
}

__global__ void missing_syncwarp(float* x) {
  SHARED(float, copy, [32]);
  copy[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = copy[31 - threadIdx.x];
}

__global__ void missing_barrier(float* x) {
  SHARED(float, copy, [64]);
  copy[threadIdx.x] = x[threadIdx.x];
  __syncwarp();
  x[threadIdx.x] = copy[63 - threadIdx.x];
}

// The second round overwrites what slow threads still read.
__global__ void missing_second_barrier(float* x) {
  SHARED(float, copy, [64]);
  for (int round = 0; round < 2; ++round) {
    copy[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = copy[63 - threadIdx.x] + 1;
  }
}

__global__ void barrier_in_branch(float* x) {
  if (threadIdx.x < 40) __syncthreads();
  x[threadIdx.x] = 1;
}

__global__ void unequal_barriers(float* x) {
  for (unsigned i = 0; i < (threadIdx.x < 32 ? 3u : 2u); ++i) __syncthreads();
  x[threadIdx.x] = 1;
}

__global__ void divergent_barriers(float* x) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  x[threadIdx.x] = 1;
}

__global__ void shared_overrun(float* x) {
  SHARED(float, copy, [32]);
  copy[threadIdx.x + 1] = x[threadIdx.x];
}

__global__ void dynamic_shared_overrun(float* x) {
  DYNAMIC_SHARED(float, copy);
  copy[threadIdx.x] = x[threadIdx.x];
}

__global__ void shared_overread(float* x) {
  SHARED(float, copy, [32]);
  copy[threadIdx.x] = 1;
  __syncwarp();
  x[threadIdx.x] = copy[threadIdx.x + 1];
}

__global__ void shared_memory_never_written(float* x) {
  SHARED(float, copy, [64]);
  copy[threadIdx.x] = 1;
  __syncthreads();
  x[threadIdx.x] = copy[threadIdx.x] + copy[threadIdx.x + 32];
}

__global__ void shared_memory_of_the_last_block(float* x) {
  SHARED(float, copy, [32]);
  if (blockIdx.x == 0) copy[threadIdx.x] = 1;
  __syncthreads();
  x[32 * blockIdx.x + threadIdx.x] = copy[threadIdx.x];
}

__global__ void too_much_shared_memory(float* x) {
  SHARED(float, copy, [13000]);
  copy[threadIdx.x] = x[threadIdx.x];
}

__global__ void no_dynamic_shared_memory(float* x) {
  DYNAMIC_SHARED(float, copy);
  copy[threadIdx.x] = x[threadIdx.x];
}

__global__ void copy_without_wait(float* x) {
  SHARED(float4, copy, [16]);
  copy_async<16>(copy + threadIdx.x, x + 4 * threadIdx.x, true);
  close_copy_group();
  __syncthreads();
  x[threadIdx.x] = copy[threadIdx.x].x;
  wait_for_copies<0>();
}

__global__ void copy_never_waited_for(float* x) {
  SHARED(float4, copy, [16]);
  copy_async<16>(copy + threadIdx.x, x + 4 * threadIdx.x, true);
  close_copy_group();
}

__global__ void misaligned_copy(float* x) {
  SHARED(float4, copy, [16]);
  copy_async<16>(copy + threadIdx.x, x + 4 * threadIdx.x + 1, true);
  close_copy_group();
  wait_for_copies<0>();
}

__global__ void misaligned_vector(float* x) {
  float4 vector = *reinterpret_cast<const float4*>(x + 1);
  x[0] = vector.x;
}

__global__ void overrun(float* x) { x[threadIdx.x + 1] = 1; }

__global__ void overread(float* x) { x[0] = x[-1 - (int)threadIdx.x]; }

__global__ void block_order(float* x) {
  if (blockIdx.x > 0) x[blockIdx.x] = x[blockIdx.x - 1] + 1;
}

__global__ void two_blocks_write_one(float* x) { x[blockIdx.x * 31 + threadIdx.x] = (float)threadIdx.x; }

__global__ void add_beside_atomic(float* x) {
  if (threadIdx.x % 2)
    *x += 1;
  else
    atomicAdd(x, 1.f);
}

__global__ void last_block_without_fence(float* partial, unsigned* arrivals, float* out) {
  SHARED(bool, is_last, [1]);
  partial[blockIdx.x * 32 + threadIdx.x] = 1;
  __syncthreads();
  if (threadIdx.x == 0) is_last[0] = atomicAdd(arrivals, 1u) == gridDim.x - 1;
  __syncthreads();
  if (is_last[0] && threadIdx.x == 0)
    for (unsigned i = 0; i < 32 * gridDim.x; ++i) *out += partial[i];
}

__global__ void last_block_without_barrier(float* partial, unsigned* arrivals, float* out) {
  SHARED(bool, is_last, [1]);
  partial[blockIdx.x * 32 + threadIdx.x] = 1;
  __threadfence();
  if (threadIdx.x == 0) is_last[0] = atomicAdd(arrivals, 1u) == gridDim.x - 1;
  __syncthreads();
  if (is_last[0] && threadIdx.x == 0)
    for (unsigned i = 0; i < 32 * gridDim.x; ++i) *out += partial[i];
}

__global__ void nothing(float*) {}

void launch_on_numbers(void (*kernel)(float*), int threads, int size) {
  launch(stream, 1, threads, kernel, numbers(size));
}

// What a kernel that reverses its numbers should leave.
void launch_reversal(void (*kernel)(float*), int threads) {
  float* x = numbers(threads);
  launch(stream, 1, threads, kernel, x);
  require_values(x, threads, [=](int i) { return threads - 1 - i; });
}

void require_no_nan(const float* x, int size) {
  for (int i = 0; i < size; ++i) require(x[i] == x[i], "element " + std::to_string(i) + " is nan");
}

const Cases cases = {
    {"shuffle_after_exit", [] { launch_on_numbers(shuffle_after_exit, 32, 32); }},
    {"shuffle_from_absent_lane", [] { launch_on_numbers(shuffle_from_absent_lane, 32, 32); }},
    {"mask_without_caller", [] { launch_on_numbers(mask_without_caller, 32, 32); }},
    {"overlapping_masks", [] { launch_on_numbers(overlapping_masks, 32, 32); }},
    {"two_instructions", [] { launch_on_numbers(two_instructions, 32, 32); }},
    {"shuffle_beside_barrier", [] { launch_on_numbers(shuffle_beside_barrier, 32, 32); }},
    {"missing_syncwarp", [] { launch_reversal(missing_syncwarp, 32); }},
    {"missing_barrier", [] { launch_reversal(missing_barrier, 64); }},
    {"missing_second_barrier",
     [] {
       float* x = numbers(64);
       launch(stream, 1, 64, missing_second_barrier, x);
       require_values(x, 64, [](int i) { return i + 2; });
     }},
    {"barrier_in_branch", [] { launch_on_numbers(barrier_in_branch, 64, 64); }},
    {"unequal_barriers", [] { launch_on_numbers(unequal_barriers, 64, 64); }},
    {"divergent_barriers", [] { launch_on_numbers(divergent_barriers, 64, 64); }},
    {"shared_overrun", [] { launch_on_numbers(shared_overrun, 32, 32); }},
    {"dynamic_shared_overrun",
     [] { launch_with_shared(stream, 1, 64, 63 * sizeof(float), dynamic_shared_overrun, numbers(64)); }},
    {"shared_overread",
     [] {
       float* x = zeros(32);
       launch(stream, 1, 32, shared_overread, x);
       require_no_nan(x, 32);
     }},
    {"shared_memory_never_written",
     [] {
       float* x = zeros(32);
       launch(stream, 1, 32, shared_memory_never_written, x);
       require_no_nan(x, 32);
     }},
    {"shared_memory_of_the_last_block",
     [] {
       float* x = zeros(64);
       launch(stream, 2, 32, shared_memory_of_the_last_block, x);
       require_no_nan(x, 64);
     }},
    {"too_much_shared_memory", [] { launch_on_numbers(too_much_shared_memory, 32, 32); }},
    {"no_dynamic_shared_memory", [] { launch_on_numbers(no_dynamic_shared_memory, 32, 32); }},
    {"too_much_dynamic_shared_memory",
     [] { launch_with_shared(stream, 1, 32, 228 << 10, dynamic_shared_overrun, numbers(32)); }},
    {"dynamic_shared_memory_not_asked_for",
     [] {
       cudaLaunchConfig_t config{1, 32, 64 << 10, nullptr, nullptr, 0};
       require_cuda(cudaLaunchKernelEx(&config, dynamic_shared_overrun, numbers(32)));
     }},
    {"too_many_threads", [] { launch_on_numbers(nothing, 2048, 1); }},
    {"too_many_blocks", [] { launch(stream, dim3(1, 70000), 32, nothing, (float*)nullptr); }},
    {"copy_without_wait",
     [] {
       float* x = numbers(64);
       launch(stream, 1, 16, copy_without_wait, x);
       require_no_nan(x, 16);
     }},
    {"copy_never_waited_for", [] { launch_on_numbers(copy_never_waited_for, 16, 64); }},
    {"misaligned_copy", [] { launch_on_numbers(misaligned_copy, 8, 64); }},
    {"misaligned_vector", [] { launch_on_numbers(misaligned_vector, 1, 8); }},
    {"overrun", [] { launch_on_numbers(overrun, 32, 32); }},
    {"overread", [] { launch_on_numbers(overread, 1, 32); }},
    {"use_after_free",
     [] {
       float* x = numbers(32);
       cudaFree(x);
       launch(stream, 1, 31, overrun, x);
     }},
    {"block_order",
     [] {
       float* x = zeros(8);
       launch(stream, 8, 1, block_order, x);
       require_values(x, 8, [](int i) { return i; });
     }},
    {"two_blocks_write_one", [] { launch(stream, 2, 32, two_blocks_write_one, numbers(64)); }},
    {"add_beside_atomic", [] { launch_on_numbers(add_beside_atomic, 64, 1); }},
    {"last_block_without_fence",
     [] { launch(stream, 4, 32, last_block_without_fence, zeros(128), zeros<unsigned>(1), zeros(1)); }},
    {"last_block_without_barrier",
     [] { launch(stream, 4, 32, last_block_without_barrier, zeros(128), zeros<unsigned>(1), zeros(1)); }},
    {"calls_after_a_failure",
     [] {
       float* x = numbers(64);
       try {
         launch(stream, 1, 64, divergent_barriers, x);
       } catch (const LaunchError&) {
       }
       launch(stream, 1, 1, nothing, x);
     }},
    {"waiting_while_recording",
     [] {
       cudaStream_t recording;
       cudaGraph_t graph;
       require_cuda(cudaStreamCreate(&recording));
       require_cuda(cudaStreamBeginCapture(recording, cudaStreamCaptureModeThreadLocal));
       (void)cudaStreamSynchronize(recording);
       require_cuda(cudaStreamEndCapture(recording, &graph));
     }},
    {"allocating_while_recording",
     [] {
       cudaStream_t recording;
       void* data;
       require_cuda(cudaStreamCreate(&recording));
       require_cuda(cudaStreamBeginCapture(recording, cudaStreamCaptureModeThreadLocal));
       require_cuda(cudaMalloc(&data, 4));
     }},
};

}  // namespace
}  // namespace MINIDL_TARGET

int main(int argument_count, char** arguments) {
  return MINIDL_TARGET::run_case(MINIDL_TARGET::cases, argument_count, arguments);
}
