// The general product: blocks of a and b are packed into panels, then every tile of out runs over them
// (Goto and van de Geijn, Anatomy of high-performance matrix multiplication, 2008).
#pragma once
#include "gemm/pack.h"
#include "gemm/product.h"
#include "gemm/tile.h"
#include "parallel.h"
#include "scratch.h"

namespace MINIDL_TARGET {
namespace {

// Tuned on a Zen 4 core (32 KiB L1, 1 MiB L2, 32 MiB L3), 64^3 to 2048^3 and the layers of MLPs.
constexpr int64_t block_depth_bytes = 4096;      // of each line: a panel of b takes 128 KiB
constexpr int64_t block_panels_bytes = 8 << 20;  // of one packed factor: both stay in L3
constexpr int64_t chunk_bytes = 256 << 10;       // of a's panels that meet each panel of b in turn: they stay in L2
// A factor that meets no more lines of the other than this is read where it lies: packing would not pay.
constexpr int64_t max_direct_lines = 64;
// Multiply-adds that are worth another thread.
constexpr int64_t gemm_grain = 65536;

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// One of `parts` shares of [0, count); they differ by one at most.
inline Range share(int64_t count, int64_t part, int64_t parts) {
  return {count * part / parts, count * (part + 1) / parts};
}
inline Range share(Range range, int64_t part, int64_t parts) {
  Range inner = share(range.size(), part, parts);
  return {range.begin + inner.begin, range.begin + inner.end};
}

// The panels of a, the panels of b and the steps of k that are multiplied in one round.
struct Block {
  Range rows, columns, steps;
};

// How many threads share the row panels and how many the column panels: the grid whose busiest thread has least to do.
struct Grid {
  int rows = 1, columns = 1;
};
inline Grid best_grid(int threads, const Block& block) {
  Grid best;
  int64_t least = block.rows.size() * block.columns.size();
  for (int rows = threads; rows >= 1; --rows) {
    int columns = threads / rows;
    int64_t busiest = ceil_divide(block.rows.size(), rows) * ceil_divide(block.columns.size(), columns);
    if (busiest < least) best = {rows, columns}, least = busiest;
  }
  return best;
}

// Lines whole pages apart would take turns in one set of the L1 cache.
template <typename T>
bool has_colliding_lines(const Factor<T>& factor) {
  return factor.has_contiguous_lines && factor.stride * sizeof(T) % 4096 == 0;
}

// How the product is cut depends on its shape alone, and k is never split between threads: the same sums, in the same
// order, on any number of threads.
template <typename T>
struct Gemm {
  static constexpr int columns_per_panel = tile_columns<T>;

  Product<T> product;
  int64_t row_panels, column_panels;
  int64_t row_blocks, column_blocks, depth_blocks;
  int64_t a_panel_size, b_panel_size;
  bool packs_a, packs_b;
  T *packed_a, *packed_b;

  explicit Gemm(const Product<T>& p)
      : product(p),
        row_panels(ceil_divide(p.m, tile_rows)),
        column_panels(ceil_divide(p.n, columns_per_panel)),
        depth_blocks(larger(1, ceil_divide(p.k, block_depth_bytes / sizeof(T)))),
        packs_a(p.n > max_direct_lines || has_colliding_lines(p.a)),
        packs_b(p.m > max_direct_lines || p.b.has_contiguous_lines) {
    int64_t depth = ceil_divide(p.k, depth_blocks);
    a_panel_size = depth * packed_rows<T>;
    b_panel_size = depth * columns_per_panel;
    int64_t panels_bytes_a = row_panels * a_panel_size * sizeof(T);
    int64_t panels_bytes_b = column_panels * b_panel_size * sizeof(T);
    row_blocks = packs_a ? larger(1, ceil_divide(panels_bytes_a, block_panels_bytes)) : 1;
    column_blocks = packs_b ? larger(1, ceil_divide(panels_bytes_b, block_panels_bytes)) : 1;
    int64_t size_a = packs_a ? ceil_divide(row_panels, row_blocks) * a_panel_size : 0;
    int64_t size_b = packs_b ? ceil_divide(column_panels, column_blocks) * b_panel_size : b_panel_size;
    packed_a = (T*)minidl::scratch_memory((size_a + size_b) * sizeof(T));
    packed_b = packed_a + size_a;
  }

  void run(int parts) const {
    for (int64_t column_block = 0; column_block < column_blocks; ++column_block)
      for (int64_t depth_block = 0; depth_block < depth_blocks; ++depth_block)
        for (int64_t row_block = 0; row_block < row_blocks; ++row_block) {
          Block block{share(row_panels, row_block, row_blocks), share(column_panels, column_block, column_blocks),
                      share(product.k, depth_block, depth_blocks)};
          bool packs_columns = row_block == 0 && (packs_b || product.n % columns_per_panel != 0);
          if (packs_a || packs_columns)
            parallel_parts(parts, [&](int part) {
              if (packs_a) pack_a(block, part, parts);
              if (packs_columns) pack_b(block, part, parts);
            });
          parallel_parts(parts, [&](int part) { multiply(block, part, parts); });
        }
  }

  // Rows are shared out evenly: 32 make 11 + 11 + 10, not 14 + 14 + 4.
  Range rows_of(int64_t panel) const { return share(product.m, panel, row_panels); }
  Range columns_of(int64_t panel) const {
    return {panel * columns_per_panel, smaller(product.n, (panel + 1) * columns_per_panel)};
  }
  // A last panel of less than full vectors is packed in any case: the tile kernel reads whole vectors of b.
  bool is_packed_b(int64_t panel) const { return packs_b || columns_of(panel).size() < columns_per_panel; }
  T* panel_of_a(const Block& block, int64_t panel) const {
    return packed_a + (panel - block.rows.begin) * a_panel_size;
  }
  T* panel_of_b(const Block& block, int64_t panel) const {
    return packed_b + (packs_b ? panel - block.columns.begin : 0) * b_panel_size;
  }

  void pack_a(const Block& block, int part, int parts) const {
    Range mine = share(block.rows, part, parts);
    for (int64_t panel = mine.begin; panel < mine.end; ++panel) {
      Range rows = rows_of(panel);
      pack_panel(product.a, rows.begin, (int)rows.size(), block.steps.begin, block.steps.size(),
                 panel_of_a(block, panel), packed_rows<T>);
    }
  }

  void pack_b(const Block& block, int part, int parts) const {
    Range mine = share(block.columns, part, parts);
    for (int64_t panel = mine.begin; panel < mine.end; ++panel) {
      if (!is_packed_b(panel)) continue;
      Range columns = columns_of(panel);
      pack_panel(product.b, columns.begin, (int)columns.size(), block.steps.begin, block.steps.size(),
                 panel_of_b(block, panel), columns_per_panel);
    }
  }

  // One part's tiles, in chunks of row panels.
  void multiply(const Block& block, int part, int parts) const {
    Grid grid = best_grid(parts, block);
    if (part >= grid.rows * grid.columns) return;
    Range rows = share(block.rows, part / grid.columns, grid.rows);
    Range columns = share(block.columns, part % grid.columns, grid.columns);
    int64_t chunk = larger(1, chunk_bytes / larger(1, a_panel_size * sizeof(T)));
    for (int64_t begin = rows.begin; begin < rows.end; begin += chunk)
      for (int64_t column = columns.begin; column < columns.end; ++column)
        for (int64_t row = begin; row < smaller(begin + chunk, rows.end); ++row) multiply_panels(block, row, column);
  }

  void multiply_panels(const Block& block, int64_t row_panel, int64_t column_panel) const {
    Range rows = rows_of(row_panel), columns = columns_of(column_panel);
    TileInput<T> in;
    in.depth = block.steps.size();
    bool has_adjacent_rows = packs_a || !product.a.has_contiguous_lines;
    in.a = packs_a ? panel_of_a(block, row_panel) : product.a.at(rows.begin, block.steps.begin);
    in.a_row = has_adjacent_rows ? 1 : product.a.stride;
    in.a_step = packs_a ? packed_rows<T> : has_adjacent_rows ? product.a.stride : 1;
    bool is_packed = is_packed_b(column_panel);
    in.b = is_packed ? panel_of_b(block, column_panel) : product.b.at(columns.begin, block.steps.begin);
    in.b_step = is_packed ? columns_per_panel : product.b.stride;

    TileOutput<T> to = product.output_at(rows.begin, columns.begin, columns.size());
    if (block.steps.begin > 0) to.adds_to_out = true;
    if (block.steps.end < product.k) to.bias = to.saved = nullptr, to.activation = Activation::none;
    int vectors = (int)ceil_divide(columns.size(), Vec<T>::width);
    tile_kernel<T>((int)rows.size(), vectors, has_adjacent_rows)(in, to);
  }
};

template <typename T>
void multiply_packed(Stream stream, const Product<T>& product) {
  Gemm<T> gemm(product);
  int64_t worth = product.m * product.n * larger(1, product.k) / gemm_grain;
  gemm.run((int)larger(1, smaller(stream.threads, worth)));
}

}  // namespace
}  // namespace MINIDL_TARGET
