// Sums in one fixed order: a few vector accumulators within a leaf, up to 256 leaves in two levels, those pairwise. The
// rounding error grows with the logarithm of the length (Higham 1993), at the price of one addition per leaf, and needs
// no wider type.
#pragma once
#include <stdint.h>

#include "kernels.h"
#include "parallel.h"
#include "traversal.h"

namespace MINIDL_TARGET {
namespace {

// count running sums, one vector each
template <typename T, int count>
struct Sums {
  Vec<T> v[count];
  friend SIMD_INLINE Sums operator+(const Sums& a, const Sums& b) {
    Sums sum;
    for (int q = 0; q < count; ++q) sum.v[q] = a.v[q] + b.v[q];
    return sum;
  }
};

inline int64_t pairwise_middle(int64_t begin, int64_t end, int64_t leaf) {
  int64_t leaves = (end - begin + leaf - 1) / leaf;
  return begin + leaves / 2 * leaf;
}

// 16 additions per lane with four accumulators.
template <typename T>
constexpr int64_t row_leaf = 64 * Vec<T>::width;

template <typename T, int quantities, typename Term>
SIMD_INLINE Sums<T, quantities> sum_row_leaf(int64_t begin, int64_t end, Term term) {
  constexpr int width = Vec<T>::width;
  Sums<T, quantities> sums[4] = {};
  int64_t i = begin;
  for (; i + 4 * width <= end; i += 4 * width)
    for (int k = 0; k < 4; ++k) term(Whole<T>{i + k * width, 0}, sums[k].v);
  for (; i + width <= end; i += width) term(Whole<T>{i, 0}, sums[0].v);
  if (i < end) {
    int count = (int)(end - i);
    Sums<T, quantities> edge = {};
    term(Edge<T>{i, 0, 0, count}, edge.v);
    for (int q = 0; q < quantities; ++q) sums[1].v[q] += select(first_lanes<T>(count), edge.v[q], Vec<T>{});
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// 16 parts of the level below, one by one; level 0 is a leaf. Their sums stay in registers: a sum on the stack waits
// for its leaf's loads, and the next leaf for the stack (a row of 48 MiB on one thread of a Zen 4: 12 -> 28 GB/s).
template <typename T, int level>
constexpr int64_t row_block = 16 * row_block<T, level - 1>;
template <typename T>
constexpr int64_t row_block<T, 0> = row_leaf<T>;

template <int level, typename T, int quantities, typename Term>
SIMD_INLINE Sums<T, quantities> sum_row_block(int64_t begin, int64_t end, const Term& term) {
  if constexpr (level == 0) {
    return sum_row_leaf<T, quantities>(begin, end, term);
  } else {
    constexpr int64_t part = row_block<T, level - 1>;
    Sums<T, quantities> sums = {};
    for (int64_t from = begin; from < end; from += part)
      sums = sums + sum_row_block<level - 1, T, quantities>(from, end - from < part ? end : from + part, term);
    return sums;
  }
}

// Lane-wise sums over the elements [begin, end); term(place, sums) adds one vector's share to sums[0 .. quantities).
template <typename T, int quantities, typename Term>
Sums<T, quantities> sum_row_lanes(int64_t begin, int64_t end, const Term& term) {
  if (end - begin <= row_leaf<T>) return sum_row_leaf<T, quantities>(begin, end, term);
  if (end - begin <= row_block<T, 2>) return sum_row_block<2, T, quantities>(begin, end, term);
  int64_t middle = pairwise_middle(begin, end, row_block<T, 2>);
  return sum_row_lanes<T, quantities>(begin, middle, term) + sum_row_lanes<T, quantities>(middle, end, term);
}

// Sum over [begin, end) of value(place).
template <typename T, typename Value>
SIMD_INLINE T sum_row(int64_t begin, int64_t end, const Value& value) {
  auto term = [&value](auto at, Vec<T>* sums) { sums[0] += value(at); };
  return sum_lanes(sum_row_lanes<T, 1>(begin, end, term).v[0]);
}

constexpr int max_chunks = 64;

// [0, size) cut into chunks that depend on the sizes alone, so that sums per chunk do not depend on threads.
struct Chunks {
  int64_t size, length, count;
  // cost: elements behind each of the size places
  Chunks(int64_t size, int64_t cost = 1) : size(size), length(size), count(1) {
    int64_t wanted = size * cost / 32768;
    if (wanted > max_chunks) wanted = max_chunks;
    if (wanted < 2) return;
    length = ((size + wanted - 1) / wanted + 63) / 64 * 64;
    count = (size + length - 1) / length;
  }
  int64_t begin(int64_t chunk) const { return chunk * length; }
  int64_t end(int64_t chunk) const { return begin(chunk) + length < size ? begin(chunk) + length : size; }
};

// parts[0] .. parts[(count - 1) * stride] merged pairwise, neighbours first.
template <typename Part, typename Merge>
Part merge_pairwise(const Part* parts, int64_t count, int64_t stride, Merge merge) {
  if (count == 1) return parts[0];
  int64_t half = count / 2;
  return merge(merge_pairwise(parts, half, stride, merge),
               merge_pairwise(parts + half * stride, count - half, stride, merge));
}

// Sum over [0, size) of value(place), chunk by chunk on several threads.
template <typename T, typename Value>
T parallel_sum(Stream stream, int64_t size, const Value& value) {
  Chunks chunks(size);
  T sums[max_chunks];
  parallel_for(
      stream, chunks.count, 1,
      [&](int64_t first, int64_t last) {
        for (int64_t c = first; c < last; ++c) sums[c] = sum_row<T>(chunks.begin(c), chunks.end(c), value);
      },
      1);
  return merge_pairwise(sums, chunks.count, 1, [](T a, T b) { return a + b; });
}

}  // namespace
}  // namespace MINIDL_TARGET
