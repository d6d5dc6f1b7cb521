// The instructions of sm_90a, beside ptx.cuh: products by a warpgroup of 4 warps, and barriers that count arrivals.
#pragma once
#include <stdint.h>

#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

constexpr int warpgroup_threads = 4 * warp_threads;

__device__ inline uint32_t shared_address(const void* shared) { return (uint32_t)__cvta_generic_to_shared(shared); }

// ---- barriers in shared memory: phase after phase, each over when so many arrivals were counted

__device__ inline void init_barrier(uint64_t* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
__device__ inline void arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Waits for the end of a phase; parity = the phase's number modulo 2. The phase before the first counts as over.
__device__ inline void wait(uint64_t* barrier, unsigned parity) {
  asm volatile(
      "{\n"
      ".reg .pred is_over;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 is_over, [%0], %1;\n"
      "@!is_over bra again;\n"
      "}" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
// Named barriers, for some of a block's threads.
__device__ inline void arrive_at(int name, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(name), "r"(threads) : "memory");
}
__device__ inline void meet_at(int name, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(name), "r"(threads) : "memory");
}

// ---- registers: a warpgroup's share of what the block was launched with

template <int registers>
__device__ inline void give_registers_back() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

// ---- clusters

// As sync_cluster(), for threads that since then have only read what other blocks wrote.
__device__ inline void sync_cluster_after_reading() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\n\tbarrier.cluster.wait.aligned;" ::: "memory");
}

// ---- products

// Lines of row_bytes (64 or 128) one after the other, whose 16-byte pieces are exchanged: see swizzled_place.
template <int row_bytes>
__device__ inline uint64_t describe_lines(const void* shared) {
  constexpr uint64_t swizzle = row_bytes == 128 ? 1 : 2, eight_lines = 8 * row_bytes / 16;
  return (uint64_t)(shared_address(shared) >> 4 & 0x3fff) | uint64_t(1) << 16 | eight_lines << 32 | swizzle << 62;
}
// In bytes, of the 16-byte piece of a line.
template <int row_bytes>
__device__ inline int swizzled_place(int line, int piece) {
  int exchange = row_bytes == 128 ? line % 8 : line / 2 % 4;
  return line * row_bytes + (piece ^ exchange) * 16;
}

// What one instruction multiplies: columns, as many as ptxas takes with 128 registers a thread at the launch, and bytes
// of each line.
constexpr int instruction_n = 128, instruction_bytes = 32;

// What this thread can see in shared memory, its products see from then on.
__device__ inline void see_writes_in_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
// Keeps the compiler from moving other work on sums in between the products, which would then wait for each other.
template <int count>
__device__ inline void settle(float (&sums)[count]) {
#pragma unroll
  for (float& sum : sums) asm volatile("" : "+f"(sum)::"memory");
}
// Before the first product and after other code has touched sums.
__device__ inline void open_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void close_product_group() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int groups>
__device__ inline void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
}

#define SUMS_8(i)                                                                                         \
  "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3]), "+f"(sum[i + 4]), "+f"(sum[i + 5]), \
      "+f"(sum[i + 6]), "+f"(sum[i + 7])
#define SUMS_32(i) SUMS_8(i), SUMS_8(i + 8), SUMS_8(i + 16), SUMS_8(i + 24)
#define NAMES_64                                                                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "      \
  "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, " \
  "%45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"

// sum (64 x 128) += a (64 x 8 in TF32 or 64 x 16 in bfloat16) b, by a whole warpgroup, from lines that describe_lines
// tells of. Warp w of the group has rows 16 w + lane / 4 (+ 8) and columns 8 j + lane % 4 * 2 (+ 1):
// sum[4 j + 2 * (+ 8) + (+ 1)].
template <bool is_bfloat16>
__device__ inline void multiply_add(float (&sum)[64], uint64_t a, uint64_t b) {
  if constexpr (is_bfloat16)
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" NAMES_64 "}, %64, %65, 1, 1, 1, 0, 0;"
                 : SUMS_32(0), SUMS_32(32)
                 : "l"(a), "l"(b));
  else
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 {" NAMES_64 "}, %64, %65, 1, 1, 1;"
                 : SUMS_32(0), SUMS_32(32)
                 : "l"(a), "l"(b));
}

#undef SUMS_8
#undef SUMS_32
#undef NAMES_64

}  // namespace
}  // namespace MINIDL_TARGET
