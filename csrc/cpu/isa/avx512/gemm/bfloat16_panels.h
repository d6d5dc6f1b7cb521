// Factors rounded to bfloat16 and packed into panels of pairs, in the two orders that instructions want.
#pragma once
#include <immintrin.h>
#include <string.h>

#include "gemm/product.h"
#include "gemm/range.h"
#include "gemm/register_transpose.h"
#include "simd.h"

// AVX512-BF16, which not every CPU with AVX-512 has: only functions marked so use it.
#define BFLOAT16_CODE __attribute__((target("avx512bf16")))

namespace MINIDL_TARGET {
namespace {

// Two steps of a line: the first in the lower half. Steps that are missing at the end of a panel are zero.
using Pair = int32_t;

constexpr int width = Vec<float>::width;
static_assert(width == Vec<Pair>::width);

// Rounded to nearest, ties to even: of neighbours, lane 0 holds a[0] and a[1], ..., lane 15 b[14] and b[15].
BFLOAT16_CODE inline Vec<Pair> round_neighbours(Vec<float> a, Vec<float> b) {
  return Vec<Pair>((Vec<Pair>::Native)_mm512_cvtne2ps_pbh(b.lanes, a.lanes));
}

// Lane i holds a[i] and b[i].
BFLOAT16_CODE inline Vec<Pair> round_lanes(Vec<float> a, Vec<float> b) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(b.lanes, a.lanes);
  return Vec<Pair>((Vec<Pair>::Native)_mm512_maskz_permutexvar_epi16((__mmask32)-1, order, halves));
}

// Up to 32 steps of a line.
BFLOAT16_CODE inline Vec<Pair> round_steps(const float* from, int64_t steps) {
  int first = (int)smaller(steps, width), second = (int)smaller(steps - first, width);
  return round_neighbours(load_partial(from, first), load_partial(from + first, second));
}

// Up to two steps of lines that lie side by side.
BFLOAT16_CODE inline Vec<Pair> round_lines(const float* from, int64_t stride, int lines, int64_t steps) {
  Vec<float> first = load_partial(from, steps > 0 ? lines : 0);
  return round_lanes(first, load_partial(from + stride, steps > 1 ? lines : 0));
}

// ---- panel[pair][line]: vectors of lines

BFLOAT16_CODE void pack_pairs_of_contiguous_lines(const float* from, int64_t stride, int lines, int64_t depth,
                                                  Pair* panel, int panel_lines) {
  for (int first = 0; first < lines; first += width) {
    // A square that is not full repeats its last line: what the lanes beyond the lines hold is not used.
    int last = (int)smaller(lines - first, width) - 1;
    const float* source = from + first * stride;
    Pair* target = panel + first;
    for (int64_t step = 0; step < depth; step += 2 * width, source += 2 * width, target += width * panel_lines) {
      Vec<Pair> square[width];
#pragma GCC unroll 16
      for (int row = 0; row < width; ++row)
        square[row] = round_steps(source + (row < last ? row : last) * stride, depth - step);
      transpose_registers(square);
      int64_t pairs = ceil_divide(depth - step, 2);
#pragma GCC unroll 16
      for (int row = 0; row < width; ++row)
        if (row < pairs) store(target + row * panel_lines, square[row]);
    }
  }
}

BFLOAT16_CODE void pack_pairs_of_strided_lines(const float* from, int64_t stride, int lines, int64_t depth, Pair* panel,
                                               int panel_lines) {
  for (int64_t step = 0; step < depth; step += 2, from += 2 * stride, panel += panel_lines) {
    for (int line = 0; line < lines; line += width) {
      // See pack_strided_lines.
      __builtin_prefetch(from + 8 * stride + line);
      __builtin_prefetch(from + 9 * stride + line);
      store(panel + line, round_lines(from + line, stride, (int)smaller(lines - line, width), depth - step));
    }
  }
}

// Fills panel_pairs pairs, with zeros behind the last one of the factor.
inline void pack_pairs(const Factor<float>& factor, Range lines, Range steps, Pair* panel, int panel_lines,
                       int64_t panel_pairs) {
  auto pack = factor.has_contiguous_lines ? pack_pairs_of_contiguous_lines : pack_pairs_of_strided_lines;
  pack(factor.at(lines.begin, steps.begin), factor.stride, (int)lines.size(), steps.size(), panel, panel_lines);
  int64_t pairs = ceil_divide(steps.size(), 2);
  memset(panel + pairs * panel_lines, 0, (panel_pairs - pairs) * panel_lines * sizeof(Pair));
}

// ---- panel[block][line][pair of the block]: squares of 16 lines and 16 pairs, one below the other

constexpr int square_steps = 2 * width;

BFLOAT16_CODE void pack_squares_of_contiguous_lines(const float* from, int64_t stride, int lines, int64_t depth,
                                                    Pair* panel, int panel_lines) {
  for (int64_t step = 0; step < depth; step += square_steps, panel += panel_lines * width)
    for (int line = 0; line < lines; ++line)
      store(panel + line * width, round_steps(from + line * stride + step, depth - step));
}

BFLOAT16_CODE void pack_squares_of_strided_lines(const float* from, int64_t stride, int lines, int64_t depth,
                                                 Pair* panel, int panel_lines) {
  for (int64_t step = 0; step < depth; step += square_steps, panel += panel_lines * width)
    for (int first = 0; first < lines; first += width) {
      int count = (int)smaller(lines - first, width);
      const float* source = from + step * stride + first;
      Vec<Pair> square[width];
#pragma GCC unroll 16
      for (int pair = 0; pair < width; ++pair)
        square[pair] = round_lines(source + 2 * pair * stride, stride, count, depth - step - 2 * pair);
      transpose_registers(square);
#pragma GCC unroll 16
      for (int line = 0; line < width; ++line)
        if (line < count) store(panel + (first + line) * width, square[line]);
    }
}

inline void pack_squares(const Factor<float>& factor, Range lines, Range steps, Pair* panel, int panel_lines) {
  auto pack = factor.has_contiguous_lines ? pack_squares_of_contiguous_lines : pack_squares_of_strided_lines;
  pack(factor.at(lines.begin, steps.begin), factor.stride, (int)lines.size(), steps.size(), panel, panel_lines);
}

}  // namespace
}  // namespace MINIDL_TARGET
