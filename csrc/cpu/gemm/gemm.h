// The general product: blocks of a and b are packed into panels, then every tile of out runs over them
// (Goto and van de Geijn, Anatomy of high-performance matrix multiplication, 2008).
#pragma once
#include "gemm/pack.h"
#include "gemm/product.h"
#include "gemm/range.h"
#include "gemm/tile.h"
#include "parallel.h"
#include "scratch.h"

namespace MINIDL_TARGET {
namespace {

// Tuned on a Zen 4 core (32 KiB L1, 1 MiB L2, 32 MiB L3), 64^3 to 2048^3 and the layers of MLPs, and for these on a
// Xeon of the Emerald Rapids generation (48 KiB, 2 MiB, 300 MiB) and a Zen 5 core (48 KiB, 1 MiB, 32 MiB).
constexpr int64_t block_depth_bytes = repeats_a ? 2048 : 4096;  // of each line: a panel of b takes 128 KiB at most
// Where so many rows of a that are contiguous use it, a panel may be deeper if that saves a block, and with it a pass
// over out: 1280^3, 2500^3 and 2048 x 1100 x 2048 take 1 to 3 % less time on a Zen 5 core.
constexpr int64_t min_rows_of_deep_blocks = 256, deep_block_bytes = block_depth_bytes / 4 * 5;
constexpr int64_t colliding_depth = 128;             // steps at a time that are whole pages apart
constexpr int64_t max_steps_half_pages_apart = 256;  // of a, if it is not packed
constexpr int64_t block_panels_bytes = 4 << 20;      // of packed b: those of two threads stay in 32 MiB
constexpr int64_t chunk_bytes = 640 << 10;  // of the panels that meet each panel of the other factor: they stay in L2
constexpr int64_t cache_bytes = 2 << 20;    // of out: what is larger has left the L2 when it is used again
// Products of so few steps write out along its rows if it exceeds the cache, of very few steps in any case.
constexpr int64_t max_depth_along_rows = 128, very_few_steps = 32;
// A factor that meets no more lines of the other than this is read where it lies: packing would not pay.
constexpr int64_t max_direct_lines = 64, max_direct_columns = repeats_a ? 32 : 64;
constexpr int64_t min_rows_to_repeat = 16;  // for many uses: a panel of a that holds each number in every lane
// Steps that are worth fetching ahead: a short panel is in the cache by itself.
constexpr int64_t min_fetched_depth = 64;
// Multiply-adds that are worth another thread.
constexpr int64_t gemm_grain = 65536;
// Rows of out that are worth a thread of their own where they are written one after the other.
constexpr int64_t min_whole_rows = 32;
// Multiply-adds in the time that packing takes for one element, and a later fetch of one that another core has written.
constexpr int64_t packing_cost = 16, moving_cost = 100;

// Whole pages apart, steps and lines lie in so few sets of a cache that they drive each other out, even from the L2,
// and each needs another entry of the TLB.
template <typename T>
bool collides(const Factor<T>& factor) {
  return are_whole_pages<T>(factor.stride);
}

// The tile kernel reads a where it lies with little loss: if its rows lie side by side and fill most of a cache line,
// or if each is one piece of memory and longer than it takes to work out where they all begin. Other rows, steps (or
// rows) that collide and many uses speak against it; any two of them are worth the packing. Many steps that are half
// pages apart collide as well. Where a number of a is a load and a shuffle, many uses are enough unless the rows are
// few, for whose sake b would be packed as well: 12 % less time on a Zen 5 core.
template <typename T>
bool is_packing_worth(const Factor<T>& a, int64_t rows, int64_t columns, int64_t depth) {
  bool is_used_often = columns > max_direct_columns;
  if (repeats_a && is_used_often && rows >= min_rows_to_repeat) return true;
  bool is_scattered = a.has_contiguous_lines ? a.stride <= very_few_steps : tile_rows * sizeof(T) < 32;
  bool are_half_pages_apart = a.stride * sizeof(T) % (page_bytes / 2) == 0;
  bool are_many_steps = !a.has_contiguous_lines && depth > max_steps_half_pages_apart;
  return is_used_often + (collides(a) || (are_half_pages_apart && are_many_steps)) + is_scattered >= 2;
}

// Into how many blocks the steps are divided. It depends on the product alone, as the order of the sums does. Steps of
// b that collide are taken few at a time if that matters more than fetching out for each block: where few rows use
// them, or where a panel is narrower than a cache line and leaves the rest of each to the next one. On a Zen 5 core 128
// at a time take 5 % less time for 16 rows and 5 % more for 128.
template <typename T>
int64_t count_depth_blocks(const Product<T>& p) {
  bool b_collides = !p.b.has_contiguous_lines && collides(p.b);
  bool matters = p.m <= max_direct_lines || tile_columns<T> * sizeof(T) < 64;
  bool are_deep = p.m >= min_rows_of_deep_blocks && p.a.has_contiguous_lines;
  int64_t bytes = are_deep ? deep_block_bytes : block_depth_bytes;
  int64_t depth = b_collides && matters ? colliding_depth : bytes / (int64_t)sizeof(T);
  return larger(1, ceil_divide(p.k, depth));
}

template <typename T>
bool exceeds_cache(const Product<T>& p) {
  return p.m * p.n * (int64_t)sizeof(T) >= cache_bytes;
}

// Whether out is written along its rows, not panel of columns by panel of columns.
template <typename T>
bool goes_along_rows(const Product<T>& p) {
  return ceil_divide(p.k, count_depth_blocks(p)) <= (exceeds_cache(p) ? max_depth_along_rows : very_few_steps);
}

// How much narrower the first panel of columns is than the others, so that these begin at cache lines where b is read
// as it lies: vectors that cross lines cost most where steps are pages apart and share few sets of the caches. 32 rows
// times 4096 x 4096, b 16 bytes off: 2.6 times as fast on a Zen 4 core.
template <typename T>
int64_t missing_columns(const Product<T>& p) {
  constexpr int64_t line = 64 / sizeof(T), unit = line < tile_columns<T> ? line : tile_columns<T>;
  bool is_read_as_it_lies = p.m <= max_direct_lines && !p.b.has_contiguous_lines;
  return is_read_as_it_lies && p.b.stride % line == 0 ? (int64_t)((uintptr_t)p.b.data / sizeof(T) % unit) : 0;
}

// A rectangle of out, whole panels of rows and of columns, computed by one thread that packs for itself: to fetch what
// another core has packed takes as long as to pack it again, and nobody has to wait. What is packed depends on the
// rectangle, the order of the sums on k alone: the same result on any number of threads.
template <typename T>
struct PackedProduct {
  static constexpr int columns_per_panel = tile_columns<T>;

  const Product<T>& product;
  Range row_panels, column_panels;
  int64_t all_row_panels;
  int64_t missing = missing_columns(product);
  int64_t depth_blocks, column_blocks, row_chunks;
  int64_t a_panel_size, b_panel_size;
  bool along_rows, packs_a, packs_b, copies_b;
  T *packed_a, *packed_b;

  PackedProduct(const Product<T>& p, int64_t all_row_panels, Range row_panels, Range column_panels)
      : product(p),
        row_panels(row_panels),
        column_panels(column_panels),
        all_row_panels(all_row_panels),
        depth_blocks(count_depth_blocks(p)),
        along_rows(goes_along_rows(p)) {
    int64_t rows = rows_of(row_panels.end - 1).end - rows_of(row_panels.begin).begin;
    int64_t columns = columns_of(column_panels.end - 1).end - columns_of(column_panels.begin).begin;
    int64_t depth = ceil_divide(p.k, depth_blocks);
    packs_a = is_packing_worth(p.a, rows, columns, depth);
    bool is_strided = !p.b.has_contiguous_lines;
    bool returns_to_collisions = collides(p.b) && depth > very_few_steps && row_panels.size() > 1;
    packs_b = rows > max_direct_lines || returns_to_collisions || !is_strided || (repeats_a && packs_a);
    copies_b = packs_b && is_strided && can_copy_b;
    a_panel_size = depth * packed_step<T>;
    b_panel_size = depth * columns_per_panel;
    int64_t bytes_a = row_panels.size() * a_panel_size * sizeof(T),
            bytes_b = column_panels.size() * b_panel_size * sizeof(T);
    row_chunks = along_rows ? 1 : larger(1, ceil_divide(bytes_a, chunk_bytes));
    column_blocks = larger(1, ceil_divide(bytes_b, along_rows ? chunk_bytes : block_panels_bytes));
    int64_t size_a = packs_a ? (along_rows ? 1 : ceil_divide(row_panels.size(), row_chunks)) * a_panel_size : 0;
    int64_t size_b = keeps_b() ? ceil_divide(column_panels.size(), column_blocks) * b_panel_size : b_panel_size;
    packed_a = (T*)minidl::scratch_memory((size_a + size_b) * sizeof(T));
    packed_b = packed_a + size_a;
  }

  // Along the columns of out and with a single chunk of rows, each panel of b is used up before the next one takes its
  // place. Along the rows, that holds for the panels of a.
  bool keeps_b() const { return along_rows || (packs_b && row_chunks > 1); }

  void run() const {
    for (int64_t column_block = 0; column_block < column_blocks; ++column_block)
      for (int64_t depth_block = 0; depth_block < depth_blocks; ++depth_block)
        for (int64_t row_chunk = 0; row_chunk < row_chunks; ++row_chunk)
          multiply({share(row_panels, row_chunk, row_chunks), share(column_panels, column_block, column_blocks),
                    share(product.k, depth_block, depth_blocks)});
  }

  // The panels of a, the panels of b and the steps of k that are multiplied in one round.
  struct Block {
    Range rows, columns, steps;
  };

  void multiply(const Block& block) const {
    if (along_rows)
      for (int64_t row = block.rows.begin; row < block.rows.end; ++row)
        for (int64_t column = block.columns.begin; column < block.columns.end; ++column)
          multiply_panels(block, row, column);
    else
      for (int64_t column = block.columns.begin; column < block.columns.end; ++column)
        for (int64_t row = block.rows.begin; row < block.rows.end; ++row) multiply_panels(block, row, column);
  }

  // Rows are shared out evenly: 32 make 11 + 11 + 10, not 14 + 14 + 4.
  Range rows_of(int64_t panel) const { return share(product.m, panel, all_row_panels); }
  Range columns_of(int64_t panel) const {
    int64_t begin = panel * columns_per_panel - missing;
    return {larger(0, begin), smaller(product.n, begin + columns_per_panel)};
  }
  // A panel of less than full vectors is packed in any case: the tile kernel reads whole vectors of b.
  bool is_packed_b(int64_t panel) const { return packs_b || columns_of(panel).size() < columns_per_panel; }
  T* panel_of_a(const Block& block, int64_t panel) const {
    return packed_a + (along_rows ? 0 : panel - block.rows.begin) * a_panel_size;
  }
  T* panel_of_b(const Block& block, int64_t panel) const {
    return packed_b + (keeps_b() ? panel - block.columns.begin : 0) * b_panel_size;
  }

  void pack_a(const Block& block, int64_t panel) const {
    Range rows = rows_of(panel);
    pack_panel<T, repeats_a>(product.a, rows.begin, (int)rows.size(), block.steps.begin, block.steps.size(),
                             panel_of_a(block, panel), packed_rows<T>);
  }
  void pack_b(const Block& block, int64_t panel) const {
    Range columns = columns_of(panel);
    pack_panel(product.b, columns.begin, (int)columns.size(), block.steps.begin, block.steps.size(),
               panel_of_b(block, panel), columns_per_panel);
  }

  // What is packed or read next comes from the L3, from memory or from another core, and would be waited for: while the
  // tiles of the first panel of b multiply, each fetches the next panel of a; then the first ones of a panel of b fetch
  // the next of those, a part of its cache lines each. Layers of 784 to 1024 at batch 128 to 512: 2 to 5 % less time on
  // a Zen 4 core; 32 rows times 4096 x 4096 transposed: 20 % less on a Zen 5 core.
  void fetch_ahead(const Block& block, int64_t row_panel, int64_t column_panel, TileInput<T>& in) const {
    constexpr int64_t line = 64 / sizeof(T);
    in.soon = {in.b, in.depth, 0};
    if (in.depth < min_fetched_depth) return;
    // A part of the factor's next panel: one column of its cache lines, such a share, or some of its lines.
    auto fetch = [&](const Factor<T>& factor, Range lines, int64_t part) {
      const bool are_pieces = factor.has_contiguous_lines && factor.stride != in.depth;
      const int64_t cache_lines = ceil_divide(in.depth, line),
                    lines_of_part = are_pieces ? larger(1, (in.depth - steps_to_fetch_out) / cache_lines) : line;
      int64_t first = lines.begin + part * lines_of_part;
      if (!factor.has_contiguous_lines && first == lines.end && begins_within_lines(factor.data, factor.stride))
        first = lines.end - 1;
      if (first >= lines.end) return;
      const T* begin = factor.at(first, block.steps.begin);
      if (are_pieces)
        in.soon = {begin, cache_lines, line, smaller(lines_of_part, lines.end - first), factor.stride};
      else
        in.soon = {begin, in.depth, factor.has_contiguous_lines ? line : factor.stride};
    };
    int64_t part = row_panel - block.rows.begin;
    if (column_panel == block.columns.begin) {
      if (row_panel + 1 < block.rows.end) fetch(product.a, rows_of(row_panel + 1), 0);
    } else if (column_panel + 1 < block.columns.end) {
      bool is_in_panels = packs_b && block.rows.begin > row_panels.begin;  // packed for an earlier chunk of rows
      if (!is_in_panels)
        fetch(product.b, columns_of(column_panel + 1), part);
      else if (part * line < columns_per_panel)
        in.soon = {panel_of_b(block, column_panel + 1) + part * in.depth * line, in.depth, line};
    }
  }

  void multiply_panels(const Block& block, int64_t row_panel, int64_t column_panel) const {
    Range rows = rows_of(row_panel), columns = columns_of(column_panel);
    TileInput<T> in;
    in.depth = block.steps.size();
    Rows layout = product.a.has_contiguous_lines ? Rows::apart : Rows::adjacent;
    in.a = product.a.at(rows.begin, block.steps.begin);
    in.a_stride = product.a.stride;
    if (packs_a) {
      if (column_panel == block.columns.begin) pack_a(block, row_panel);
      layout = repeats_a ? Rows::repeated : Rows::adjacent;
      in.a = panel_of_a(block, row_panel);
      in.a_stride = packed_step<T>;
    }
    in.b = product.b.at(columns.begin, block.steps.begin);
    in.b_step = product.b.stride;
    in.b_copy = nullptr;
    Columns use_of_b = in.depth < min_fetched_depth ? Columns::read : Columns::fetched;
    if (is_packed_b(column_panel)) {
      bool is_first_use = row_panel == (keeps_b() ? row_panels : block.rows).begin;
      bool is_copied = copies_b && columns.size() == columns_per_panel;
      if (is_first_use && !is_copied) pack_b(block, column_panel);
      if (is_first_use && is_copied) {
        use_of_b = Columns::copied;
        in.b_copy = panel_of_b(block, column_panel);
      } else {
        use_of_b = Columns::read;
        in.b = panel_of_b(block, column_panel);
        in.b_step = columns_per_panel;
      }
    }

    fetch_ahead(block, row_panel, column_panel, in);
    TileOutput<T> to = product.output_at(rows.begin, columns.begin, columns.size());
    if (block.steps.begin > 0) to.adds_to_out = true;
    if (block.steps.end < product.k) to.bias = to.saved = nullptr, to.activation = Activation::none;
    int vectors = (int)ceil_divide(columns.size(), Vec<T>::width);
    tile_kernel<T>((int)rows.size(), vectors, layout, use_of_b)(in, to);
  }
};

// How threads share a product: each gets whole panels of columns, and as many panels of rows, of whole units of rows.
struct Shares {
  int64_t row_unit, rows_per_panel, columns_per_panel;
  int64_t grain;         // multiply-adds that are worth another thread
  int64_t packing_cost;  // multiply-adds in the time that packing takes for one element
};

// How many threads share the rows and how many the panels of columns: the grid whose busiest thread is done first.
// Where out is written along its rows, writing it takes the time, and each thread gets whole rows, unless they are few:
// on two threads 512 x 1024 x 10 takes 60 us so, not 90.
struct Grid {
  int64_t rows = 1, columns = 1;
};
template <typename T>
Grid best_grid(int64_t threads, const Product<T>& p, const Shares& shares, int64_t column_panels) {
  if (goes_along_rows(p)) {
    int64_t bands = smaller(threads, larger(1, p.m / min_whole_rows));
    return {bands, threads / bands};
  }
  Grid best;
  int64_t least = INT64_MAX, row_units = ceil_divide(p.m, shares.row_unit);
  for (int64_t bands = 1; bands <= smaller(threads, row_units); ++bands) {
    int64_t columns = threads / bands;
    int64_t height = ceil_divide(row_units, bands) * shares.row_unit;
    int64_t width = ceil_divide(column_panels, columns) * shares.columns_per_panel;
    int64_t parts = p.kept == Kept::rows ? columns : p.kept == Kept::columns ? bands : 1;
    int64_t moved = exceeds_cache(p) ? 0 : height * width * (parts - 1) / parts;
    int64_t cost = height * width + shares.packing_cost * (height + width) + moving_cost * moved / larger(1, p.k);
    // Where both cost the same, whole rows: threads that write parts of the same rows fetch lines from one another.
    if (cost <= least) best = {bands, columns}, least = cost;
  }
  return best;
}

// body(all_row_panels, row_panels, column_panels) for the rectangle of each thread. The first panel of columns may be
// narrower than the others.
template <typename T, typename Body>
void multiply_rectangles(Stream stream, const Product<T>& product, const Shares& shares, int64_t missing_columns,
                         const Body& body) {
  int64_t column_panels = ceil_divide(missing_columns + product.n, shares.columns_per_panel);
  int64_t worth = product.m * product.n * larger(1, product.k) / shares.grain;
  Grid grid = best_grid(larger(1, smaller(stream.threads, worth)), product, shares, column_panels);
  // As many panels, and so rows, for each thread: 512 rows for two threads are 19 + 19 panels, not 19 + 18.
  int64_t row_panels = ceil_divide(ceil_divide(product.m, shares.rows_per_panel), grid.rows) * grid.rows;
  parallel_parts((int)(grid.rows * grid.columns), [&](int part) {
    Range rows = share(row_panels, part / grid.columns, grid.rows);
    Range columns = share(column_panels, part % grid.columns, grid.columns);
    if (rows.size() > 0 && columns.size() > 0) body(row_panels, rows, columns);
  });
}

template <typename T>
void multiply_packed(Stream stream, const Product<T>& product) {
  constexpr Shares shares{1, tile_rows, tile_columns<T>, gemm_grain, packing_cost};
  multiply_rectangles(stream, product, shares, missing_columns(product),
                      [&](int64_t all_row_panels, Range rows, Range columns) {
                        PackedProduct<T>(product, all_row_panels, rows, columns).run();
                      });
}

}  // namespace
}  // namespace MINIDL_TARGET
