// Denormal numbers - nonzero ones below the smallest normal number - as zeros, while an object of this class lives.
#pragma once
#include <stdint.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace MINIDL_TARGET {
namespace {

// Averages of gradients that have become 0 shrink to denormal numbers and stay there, and many processors take some 100
// cycles for an instruction that meets one: Adam, a third of whose averages belonged to dead units, 5 times as long on
// an Intel Xeon. The setting is the thread's, so it ends where the loop does: the program around it keeps its
// arithmetic.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before(_mm_getcsr()) { _mm_setcsr(before | results_to_zero | operands_as_zero); }
  ~FlushDenormals() { _mm_setcsr(before); }

 private:
  static constexpr unsigned results_to_zero = 1 << 15, operands_as_zero = 1 << 6;
  unsigned before;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before));
    asm volatile("msr fpcr, %0" ::"r"(before | to_zero) : "memory");
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before) : "memory"); }

 private:
  static constexpr uint64_t to_zero = 1 << 24;
  uint64_t before;
#else
  FlushDenormals() {}
  ~FlushDenormals() {}

 private:
#endif
  FlushDenormals(const FlushDenormals&) = delete;
};

}  // namespace
}  // namespace MINIDL_TARGET
