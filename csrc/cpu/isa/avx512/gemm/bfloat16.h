// Products of factors rounded to bfloat16, or to the sum of two such numbers, added up in float32, where the CPU has
// instructions for it. Both factors are rounded while they are packed; then it is the general product of gemm.h.
#pragma once
#include "gemm/amx_unit.h"
#include "gemm/bfloat16_panels.h"
#include "gemm/gemm.h"
#include "gemm/vector_unit.h"
#include "parallel.h"
#include "scratch.h"

namespace MINIDL_TARGET {
namespace {

// With fewer lines of one factor, the other is not used often enough to make up for rounding and packing all of it.
// Measured on a Zen 4 core against float32: 32 x 1024 x 1024 takes 0.7 to 0.9 of the time, 16 x 1024 x 1024 1.0 to 1.2;
// 256 x 256 x 8 0.7, 256 x 256 x 2 1.0.
constexpr int64_t min_bfloat16_lines = 32, min_bfloat16_depth = 8;  // of factors in one piece; in two, twice as many
constexpr int64_t min_result_bytes_along_rows = 1 << 20;

// A rectangle of out, computed by one thread; see PackedProduct for the order of the blocks and why threads share
// nothing.
template <typename Unit>
struct Bfloat16Product {
  const Product<float>& product;
  int64_t all_row_panels;
  Range row_panels, column_panels;
  int64_t depth_units = ceil_divide(product.k, Unit::depth_unit);
  int64_t depth_blocks = ceil_divide(product.k, Unit::block_depth);
  int64_t panel_pairs = ceil_divide(depth_units, depth_blocks) * Unit::depth_unit / 2;
  int64_t panel_depth = panel_pairs * Unit::pieces;
  int64_t a_panel_size = panel_depth * Unit::packed_lines, b_panel_size = panel_depth * Unit::shares.columns_per_panel;
  int64_t row_chunks = ceil_divide(row_panels.size() * a_panel_size * sizeof(Pair), chunk_bytes);
  int64_t column_blocks = ceil_divide(column_panels.size() * b_panel_size * sizeof(Pair), block_panels_bytes);
  // Either factor's panels may be the ones that meet each panel of the other. A large result, of which little stays in
  // the L2, is written along its rows if b allows.
  bool along_rows = product.m * product.n * sizeof(float) >= min_result_bytes_along_rows &&
                    column_panels.size() * b_panel_size * sizeof(Pair) <= chunk_bytes;
  // Else, with a single chunk of rows, each panel of b is used up before the next one takes its place.
  bool keeps_b = along_rows || row_chunks > 1;

  void run() const {
    int64_t size_a = ceil_divide(row_panels.size(), row_chunks) * a_panel_size;
    int64_t size_b = keeps_b ? ceil_divide(column_panels.size(), column_blocks) * b_panel_size : b_panel_size;
    Pair* packed_a = (Pair*)minidl::scratch_memory((size_a + size_b) * sizeof(Pair));
    Unit::begin();
    for (int64_t column_block = 0; column_block < column_blocks; ++column_block)
      for (int64_t depth_block = 0; depth_block < depth_blocks; ++depth_block)
        for (int64_t row_chunk = 0; row_chunk < row_chunks; ++row_chunk)
          multiply(share(row_panels, row_chunk, row_chunks), share(column_panels, column_block, column_blocks),
                   steps_of(depth_block), packed_a, packed_a + size_a);
    Unit::end();
  }

  Range rows_of(int64_t panel) const {
    Range units = share(ceil_divide(product.m, Unit::shares.row_unit), panel, all_row_panels);
    return {units.begin * Unit::shares.row_unit, smaller(product.m, units.end * Unit::shares.row_unit)};
  }
  Range columns_of(int64_t panel) const {
    return {panel * Unit::shares.columns_per_panel, smaller(product.n, (panel + 1) * Unit::shares.columns_per_panel)};
  }
  Range steps_of(int64_t block) const {
    Range units = share(depth_units, block, depth_blocks);
    return {units.begin * Unit::depth_unit, smaller(product.k, units.end * Unit::depth_unit)};
  }

  void multiply(Range rows, Range columns, Range steps, Pair* packed_a, Pair* packed_b) const {
    auto multiply_one = [&](int64_t row, int64_t column) {
      Pair* a = packed_a + (row - rows.begin) * a_panel_size;
      Pair* b = packed_b + (keeps_b ? column - columns.begin : 0) * b_panel_size;
      if (column == columns.begin) Unit::pack_a(product.a, rows_of(row), steps, a);
      if (row == (keeps_b ? row_panels : rows).begin) Unit::pack_b(product.b, columns_of(column), steps, b);
      multiply_panels(rows_of(row), columns_of(column), steps, a, b);
    };
    if (along_rows)
      for (int64_t row = rows.begin; row < rows.end; ++row)
        for (int64_t column = columns.begin; column < columns.end; ++column) multiply_one(row, column);
    else
      for (int64_t column = columns.begin; column < columns.end; ++column)
        for (int64_t row = rows.begin; row < rows.end; ++row) multiply_one(row, column);
  }

  void multiply_panels(Range rows, Range columns, Range steps, const Pair* a, const Pair* b) const {
    TileOutput<float> to = product.output_at(rows.begin, columns.begin, columns.size());
    if (steps.begin > 0) to.adds_to_out = true;
    if (steps.end < product.k) to.bias = to.saved = nullptr, to.activation = Activation::none;
    Unit::multiply((int)rows.size(), columns.size(), steps.size(), a, b, to);
  }
};

template <typename Unit>
void multiply_by(Stream stream, const Product<float>& p) {
  multiply_rectangles(stream, p, Unit::shares, 0, [&](int64_t all_row_panels, Range rows, Range columns) {
    Bfloat16Product<Unit>{p, all_row_panels, rows, columns}.run();
  });
}

// False, and nothing done, where it is not allowed or float32 is as fast.
template <typename T>
bool multiply_in_bfloat16(Stream stream, const Product<T>& p) {
  using minidl::Bfloat16;
  if constexpr (sizeof(T) == sizeof(float)) {
    const auto [instructions, pieces] = stream.rounding;
    bool is_worth = smaller(p.m, p.n) >= min_bfloat16_lines * pieces && p.k >= min_bfloat16_depth * pieces;
    if (instructions == Bfloat16::none || !is_worth) return false;
    if (instructions == Bfloat16::avx512)
      multiply_by<VectorUnit>(stream, p);
    else if (pieces == 1)
      multiply_by<AmxUnit<1>>(stream, p);
    else
      multiply_by<AmxUnit<2>>(stream, p);
    return true;
  }
  return false;
}

}  // namespace
}  // namespace MINIDL_TARGET
