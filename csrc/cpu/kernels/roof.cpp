// The two limits that kernels are judged by: multiply-adds in registers, and streaming through memory. They are kernels
// like all others, so that every instruction set, number type, thread count and device has its roofs measured by the
// same calls, without a compiler on the user's machine.
#include "kernels.h"
#include "parallel.h"
#include "simd.h"
#include "traversal.h"

namespace MINIDL_TARGET {

namespace {

// 12 independent chains: enough to hide a latency of 4 cycles on two units, few enough for 16 registers.
constexpr int chains = 12;
constexpr int multiply_adds = 4096;

// Whole chains, or the last ones cut short; every element goes through the same steps.
template <bool is_full, typename T>
SIMD_INLINE void run_chains(const T* x, T* out, int64_t size, Vec<T> factor, Vec<T> term) {
  constexpr int width = Vec<T>::width;
  Vec<T> sum[chains];
  for (int i = 0; i < chains; ++i) {
    int64_t rest = size - i * width;
    sum[i] = is_full || rest >= width ? load(x + i * width) : load_partial(x + i * width, rest > 0 ? (int)rest : 0);
  }
  for (int step = 0; step < multiply_adds; ++step)
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = fma(sum[i], factor, term);
  for (int i = 0; i < chains; ++i) {
    int64_t rest = size - i * width;
    if (is_full || rest >= width)
      store(out + i * width, sum[i]);
    else if (rest > 0)
      store_partial(out + i * width, sum[i], (int)rest);
  }
}

template <typename T>
void multiply_add(Stream stream, const T* x, T* out, int64_t size, double factor, double term) {
  constexpr int64_t block = chains * Vec<T>::width;
  parallel_for(
      stream, size, block,
      [=](int64_t begin, int64_t end) {
        Vec<T> factors = T(factor), terms = T(term);
        int64_t i = begin;
        for (; i + block <= end; i += block) run_chains<true>(x + i, out + i, block, factors, terms);
        if (i < end) run_chains<false>(x + i, out + i, end - i, factors, terms);
      },
      block);
}

template <typename T>
void triad(Stream stream, const T* a, const T* b, T* out, int64_t size, double factor, bool bypass_cache) {
  constexpr int64_t grain = 8192;
  parallel_for(stream, size, grain, [=](int64_t begin, int64_t end) {
    const Vec<T> factors = T(factor);
    const bool is_aligned = (uintptr_t)(out + begin) % vector_bytes == 0;
    if (!bypass_cache || !is_aligned) {
      for_vectors<T>(begin, end, [=](auto at) { at.store(out, fma(at(b), factors, at(a))); });
      return;
    }
    constexpr int width = Vec<T>::width;
    int64_t i = begin;
    for (; i + width <= end; i += width) stream_store(out + i, fma(load(b + i), factors, load(a + i)));
    native_finish_streams();
    for_vectors<T>(i, end, [=](auto at) { at.store(out, fma(at(b), factors, at(a))); });
  });
}

}  // namespace

EXPORT(multiply_add)
EXPORT(triad)

}  // namespace MINIDL_TARGET
