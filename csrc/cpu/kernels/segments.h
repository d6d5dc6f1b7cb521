// The segments of an optimizer's group, laid end to end or each shared by all threads, and sums of squares.
#pragma once
#include "kernels.h"
#include "parallel.h"
#include "simd.h"

namespace MINIDL_TARGET {
namespace {

template <typename T>
int64_t total_size(const Segment<T>* segments, int64_t count) {
  int64_t total = 0;
  for (int64_t s = 0; s < count; ++s) total += segments[s].size;
  return total;
}

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

// body(segment, from, to) for the part's share of every segment. Small ones are not divided: each goes to the part that
// has its place where all small ones are laid end to end.
template <typename T, typename Body>
SIMD_INLINE void for_each_share(const Segment<T>* segments, int64_t count, int part, int parts, Body body) {
  constexpr int64_t block = 64;
  const int64_t smallest_divided = 4 * block * parts;
  int64_t undivided = 0, first = 0;
  for (int64_t s = 0; s < count; ++s)
    if (segments[s].size < smallest_divided) undivided += segments[s].size;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t size = segments[s].size, blocks = size / block;
    if (size >= smallest_divided) {
      body(segments[s], blocks * part / parts * block, part + 1 < parts ? blocks * (part + 1) / parts * block : size);
    } else if (size > 0) {
      if (first * parts / undivided == part) body(segments[s], (int64_t)0, size);
      first += size;
    }
  }
}

// body(segment, from, to), on several threads that share each segment, as they share the rows of a weight and of its
// gradient: see Kept in gemm/product.h.
template <typename T, typename Body>
inline void share_segments(Stream stream, const Segment<T>* segments, int64_t count, int64_t grain, const Body& body) {
  const int parts = worthwhile_parts(stream, total_size(segments, count), grain);
  parallel_parts(parts, [&](int part) { for_each_share(segments, count, part, parts, body); });
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
