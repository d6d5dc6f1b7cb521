// The segments of an optimizer's group laid end to end, and sums of squares.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// body(segment, from, to) for the part of each segment that lies in [begin, end) of all elements laid end to end.
template <typename T, typename Body>
SIMD_INLINE void for_each_part(const Segment<T>* segments, int64_t count, int64_t begin, int64_t end, Body body) {
  int64_t first = 0;
  for (int64_t s = 0; s < count && first < end; first += segments[s++].size) {
    int64_t from = begin > first ? begin - first : 0;
    int64_t to = end - first < segments[s].size ? end - first : segments[s].size;
    if (from < to) body(segments[s], from, to);
  }
}

template <typename T>
int64_t total_size(const Segment<T>* segments, int64_t count) {
  int64_t total = 0;
  for (int64_t s = 0; s < count; ++s) total += segments[s].size;
  return total;
}

// In 32 sums, which the compiler keeps in registers, then as a tree.
template <typename T>
double sum_of_squares(const T* x, int64_t size) {
  constexpr int lanes = 32;
  double sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= size; i += lanes)
    for (int j = 0; j < lanes; ++j) sums[j] += (double)x[i + j] * (double)x[i + j];
  for (int j = 0; i + j < size; ++j) sums[j] += (double)x[i + j] * (double)x[i + j];
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) sums[j] += sums[j + half];
  return sums[0];
}

}  // namespace
}  // namespace MINIDL_TARGET
