// The instructions that CUDA C++ has no words for; the only file with a branch on the architecture and, but for
// warpgroup_ptx.cuh, with asm.
#pragma once
#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>

namespace MINIDL_TARGET {
namespace {

// From sm_90 on neighbouring blocks of a grid can form a cluster, which reads each other's shared memory.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr bool has_clusters = false;
#else
constexpr bool has_clusters = true;
#endif

// Waits for all threads of the cluster; what they wrote to shared memory before can be read by all of them from then
// on.
template <bool is_available = has_clusters>
__device__ inline void sync_cluster() {
  if constexpr (is_available)
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// What another block of the cluster has at the place in its shared memory that `own` has in this block's; 4, 8 or 16
// bytes.
template <typename T, bool is_available = has_clusters>
__device__ inline T load_from_block_of_cluster(const T* own, unsigned block) {
  struct alignas(sizeof(T)) Words {
    uint32_t at[sizeof(T) / 4];
  } words = {};
  if constexpr (is_available) {
    unsigned address = (unsigned)__cvta_generic_to_shared(own);
    asm volatile("mapa.shared::cluster.u32 %0, %0, %1;" : "+r"(address) : "r"(block));
    if constexpr (sizeof(T) == 16)
      asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                   : "=r"(words.at[0]), "=r"(words.at[1]), "=r"(words.at[2]), "=r"(words.at[3])
                   : "r"(address)
                   : "memory");
    else if constexpr (sizeof(T) == 8)
      asm volatile("ld.shared::cluster.v2.u32 {%0, %1}, [%2];"
                   : "=r"(words.at[0]), "=r"(words.at[1])
                   : "r"(address)
                   : "memory");
    else
      asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(words.at[0]) : "r"(address) : "memory");
  }
  return __builtin_bit_cast(T, words);
}

// sm_80 copies from global to shared memory past the registers, and multiplies in TF32 and bfloat16; sm_75 does
// neither.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr bool has_async_copies = false;
#else
constexpr bool has_async_copies = true;
#endif

// From sm_90 on a kernel of a graph may be started while the one before it still runs (replayer.cpp). It then waits
// here for the end of that one and for what it has written, and lets the next one come this far: what a start costs is
// done by then. The first statement of every kernel, so that whatever precedes a kernel is over once that kernel is.
__device__ inline void follow_earlier_kernels() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;" ::: "memory");
#endif
}

// Starts to copy 4, 8 or 16 bytes from offset_bytes behind `global` to shared memory, both aligned to as many; zeros,
// and nothing is read, where not wanted. The offset is a part of the instruction: of a sum the compiler makes an
// addition.
template <int bytes, int offset_bytes = 0>
__device__ inline void copy_async(void* shared, const void* global, bool is_wanted) {
  unsigned to = (unsigned)__cvta_generic_to_shared(shared);
  int wanted_bytes = is_wanted ? bytes : 0;
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1 + %2], 16, %3;" ::"r"(to), "l"(global), "n"(offset_bytes),
                 "r"(wanted_bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1 + %2], %3, %4;" ::"r"(to), "l"(global), "n"(offset_bytes),
                 "n"(bytes), "r"(wanted_bytes)
                 : "memory");
}

// Closes the group of all copies that this thread has started since its last group; a group may be empty.
template <bool is_available = has_async_copies>
__device__ inline void close_copy_group() {
  if constexpr (is_available) asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most so many of this thread's newest groups are still under way.
template <int groups, bool is_available = has_async_copies>
__device__ inline void wait_for_copies() {
  if constexpr (is_available) asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
}

// The nearest number of 10 bits of mantissa, ties away from zero, below which the TF32 multiplication looks at nothing.
// As a sum into a new register: cvt.rna changes its operand in place, and ptxas then copies it for each instruction.
__device__ inline uint32_t round_to_tf32(float x) { return __float_as_uint(x) + (fabsf(x) < INFINITY ? 0x1000u : 0u); }

// The nearest bfloat16 of each, ties to even; `low` in the lower half.
__device__ inline uint32_t round_to_bfloat16_pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  return 0;
#else
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#endif
}

// sum (16 x 8) += a (16 x 8) b (8 x 8) in TF32 by a whole warp; with group = lane / 4 and place = lane % 4 a lane holds
// a[group, group + 8; place], a[group, group + 8; place + 4], b[place, place + 4; group] and, as of any product of this
// kind, sum[group; 2 place, 2 place + 1], sum[group + 8; 2 place, 2 place + 1].
__device__ inline void multiply_add_tf32(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  __trap();
#else
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// sum (16 x 8) += a (16 x 16) b (16 x 8) in bfloat16 by a whole warp; as multiply_add_tf32, with the pair of steps
// 2 place, 2 place + 1 in the place of one step, and + 8 in the place of + 4.
__device__ inline void multiply_add_bfloat16(float (&sum)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
  __trap();
#else
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

}  // namespace
}  // namespace MINIDL_TARGET
