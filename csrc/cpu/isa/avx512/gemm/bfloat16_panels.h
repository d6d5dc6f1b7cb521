// Factors taken apart into bfloat16 numbers and packed into panels of pairs, in the two orders that instructions want.
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

// Piece 0 of a number is the bfloat16 number next to it, ties to even; piece 1 that next to what piece 0 leaves.

// Of neighbours, lane 0 holds a[0] and a[1], ..., lane 15 b[14] and b[15].
template <int piece>
BFLOAT16_CODE inline Vec<Pair> round_neighbours(Vec<float> a, Vec<float> b) {
  __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(b.lanes, a.lanes);
  if constexpr (piece == 0) return Vec<Pair>((Vec<Pair>::Native)rounded);
  typedef uint16_t Numbers __attribute__((vector_size(32)));
  auto widened = [](__m256i numbers) {
    return bitcast<float>(Vec<uint32_t>(__builtin_convertvector((Numbers)numbers, Vec<uint32_t>::Native)) << 16);
  };
  return round_neighbours<0>(a - widened(__builtin_shufflevector(rounded, rounded, 0, 1, 2, 3)),
                             b - widened(__builtin_shufflevector(rounded, rounded, 4, 5, 6, 7)));
}

// Lane i holds a[i] and b[i].
template <int piece>
BFLOAT16_CODE inline Vec<Pair> round_lanes(Vec<float> a, Vec<float> b) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512i numbers = (__m512i)_mm512_cvtne2ps_pbh(b.lanes, a.lanes);
  Vec<Pair> rounded((Vec<Pair>::Native)_mm512_maskz_permutexvar_epi16((__mmask32)-1, order, numbers));
  if constexpr (piece == 0) return rounded;
  const Vec<Pair> second((Pair)0xffff0000);
  return round_lanes<0>(a - bitcast<float>(rounded << 16), b - bitcast<float>(rounded & second));
}

// Up to 32 steps of a line.
template <int piece>
BFLOAT16_CODE inline Vec<Pair> round_steps(const float* from, int64_t steps) {
  int first = (int)smaller(steps, width), second = (int)smaller(steps - first, width);
  return round_neighbours<piece>(load_partial(from, first), load_partial(from + first, second));
}

// Up to two steps of lines that lie side by side.
template <int piece>
BFLOAT16_CODE inline Vec<Pair> round_lines(const float* from, int64_t stride, int lines, int64_t steps) {
  Vec<float> first = load_partial(from, steps > 0 ? lines : 0);
  return round_lanes<piece>(first, load_partial(from + stride, steps > 1 ? lines : 0));
}

// Both orders have blocks of 16 pairs, and within a block one piece after the other.
constexpr int block_steps = 2 * width;

template <int index>
struct Piece {
  constexpr operator int() const { return index; }
};

// body(piece) for each of them.
template <int pieces, typename Body>
SIMD_INLINE void for_pieces(Body body) {
  body(Piece<0>{});
  if constexpr (pieces == 2) body(Piece<1>{});
}

// ---- panel[block][piece][pair][line]: vectors of lines

template <int piece>
BFLOAT16_CODE void pack_pairs_of_square(const float* from, int64_t stride, int lines, int64_t depth, Pair* panel,
                                        int panel_lines) {
  // A square that is not full repeats its last line: what the lanes beyond the lines hold is not used.
  int last = (int)smaller(lines, width) - 1;
  Vec<Pair> square[width];
#pragma GCC unroll 16
  for (int row = 0; row < width; ++row)
    square[row] = round_steps<piece>(from + (row < last ? row : last) * stride, depth);
  transpose_registers(square);
  int64_t pairs = ceil_divide(depth, 2);
#pragma GCC unroll 16
  for (int row = 0; row < width; ++row)
    if (row < pairs) store(panel + row * panel_lines, square[row]);
}

template <int pieces>
void pack_pairs_of_contiguous_lines(const float* from, int64_t stride, int lines, int64_t depth, Pair* panel,
                                    int panel_lines) {
  const int64_t piece_size = width * panel_lines;
  for (int first = 0; first < lines; first += width) {
    const float* source = from + first * stride;
    Pair* target = panel + first;
    for (int64_t step = 0; step < depth; step += block_steps, target += pieces * piece_size)
      for_pieces<pieces>([=](auto piece) {
        pack_pairs_of_square<piece>(source + step, stride, lines - first, depth - step, target + piece * piece_size,
                                    panel_lines);
      });
  }
}

template <int pieces>
BFLOAT16_CODE void pack_pairs_of_strided_lines(const float* from, int64_t stride, int lines, int64_t depth, Pair* panel,
                                               int panel_lines) {
  const int64_t piece_size = width * panel_lines;
  for (int64_t step = 0; step < depth; step += 2, from += 2 * stride, panel += panel_lines) {
    if (step > 0 && step % block_steps == 0) panel += (pieces - 1) * piece_size;
    for (int line = 0; line < lines; line += width) {
      // See pack_strided_lines.
      __builtin_prefetch(from + 8 * stride + line);
      __builtin_prefetch(from + 9 * stride + line);
      const int count = (int)smaller(lines - line, width);
      for_pieces<pieces>([=](auto piece) BFLOAT16_CODE {
        store(panel + piece * piece_size + line, round_lines<piece>(from + line, stride, count, depth - step));
      });
    }
  }
}

// Fills panel_pairs pairs, with zeros behind the last one of the factor.
template <int pieces = 1>
inline void pack_pairs(const Factor<float>& factor, Range lines, Range steps, Pair* panel, int panel_lines,
                       int64_t panel_pairs) {
  auto pack =
      factor.has_contiguous_lines ? pack_pairs_of_contiguous_lines<pieces> : pack_pairs_of_strided_lines<pieces>;
  pack(factor.at(lines.begin, steps.begin), factor.stride, (int)lines.size(), steps.size(), panel, panel_lines);
  const int64_t pairs = ceil_divide(steps.size(), 2), missing = panel_pairs - pairs;
  if (missing == 0) return;
  Pair* block = panel + pairs / width * pieces * width * panel_lines;
  for (int piece = 0; piece < pieces; ++piece)
    memset(block + (piece * width + pairs % width) * panel_lines, 0, missing * panel_lines * sizeof(Pair));
}

// ---- panel[block][piece][line][pair]: squares of 16 lines and 16 pairs, one below the other

template <int pieces>
BFLOAT16_CODE void pack_squares_of_contiguous_lines(const float* from, int64_t stride, int lines, int64_t depth,
                                                    Pair* panel, int panel_lines) {
  const int64_t piece_size = panel_lines * width;
  for (int64_t step = 0; step < depth; step += block_steps, panel += pieces * piece_size)
    for (int line = 0; line < lines; ++line)
      for_pieces<pieces>([=](auto piece) BFLOAT16_CODE {
        store(panel + piece * piece_size + line * width, round_steps<piece>(from + line * stride + step, depth - step));
      });
}

template <int piece>
BFLOAT16_CODE void pack_square(const float* from, int64_t stride, int lines, int64_t depth, Pair* panel) {
  int count = (int)smaller(lines, width);
  Vec<Pair> square[width];
#pragma GCC unroll 16
  for (int pair = 0; pair < width; ++pair)
    square[pair] = round_lines<piece>(from + 2 * pair * stride, stride, count, depth - 2 * pair);
  transpose_registers(square);
#pragma GCC unroll 16
  for (int line = 0; line < width; ++line)
    if (line < count) store(panel + line * width, square[line]);
}

template <int pieces>
void pack_squares_of_strided_lines(const float* from, int64_t stride, int lines, int64_t depth, Pair* panel,
                                   int panel_lines) {
  const int64_t piece_size = panel_lines * width;
  for (int64_t step = 0; step < depth; step += block_steps, panel += pieces * piece_size)
    for (int first = 0; first < lines; first += width)
      for_pieces<pieces>([=](auto piece) {
        pack_square<piece>(from + step * stride + first, stride, lines - first, depth - step,
                           panel + piece * piece_size + first * width);
      });
}

template <int pieces>
inline void pack_squares(const Factor<float>& factor, Range lines, Range steps, Pair* panel, int panel_lines) {
  auto pack =
      factor.has_contiguous_lines ? pack_squares_of_contiguous_lines<pieces> : pack_squares_of_strided_lines<pieces>;
  pack(factor.at(lines.begin, steps.begin), factor.stride, (int)lines.size(), steps.size(), panel, panel_lines);
}

}  // namespace
}  // namespace MINIDL_TARGET
