// The two limits of a machine: multiply-adds in registers, and streaming through memory. Built by timing.py.
#include <stdint.h>

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
typedef float Vector __attribute__((vector_size(vector_bytes)));

// 12 independent chains: enough to hide a latency of 4 cycles on two units, few enough for 16 registers.
constexpr int chains = 12;

extern "C" {

int64_t flops_per_step() { return 2 * chains * (vector_bytes / sizeof(float)); }

void multiply_add(int64_t steps, float factor, float* sink) {
  Vector sum[chains], factors = factor - Vector{}, terms = factors + 1.0f;
  for (int i = 0; i < chains; ++i) sum[i] = terms + (float)i;  // equal chains would be merged into one
  for (int64_t step = 0; step < steps; ++step)
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = sum[i] * factors + terms;
  for (int i = 0; i < chains; ++i) sink[i] = sum[i][0];
}

// 12 bytes an element, as STREAM counts them.
void triad(float* a, const float* b, const float* c, float factor, int64_t size) {
  for (int64_t i = 0; i < size; ++i) a[i] = b[i] + factor * c[i];
}
}
