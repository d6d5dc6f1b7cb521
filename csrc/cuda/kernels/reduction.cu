// Sum, extremes and variance along one dimension: x is outer x reduced x inner.
#include "kernels.h"
#include "reducers.cuh"

namespace MINIDL_TARGET {

namespace {

// ---- rows: inner is 1

constexpr int block_threads = 256;

// Batches added in turn before their result joins the total: the rounding error does not grow with the length.
constexpr int batches_of_stretch = 32;

template <typename T, typename Shape, typename Reducer>
__device__ typename Reducer::Part reduce_row(const Reducer& reducer, const T* x, int64_t begin, int64_t end,
                                             typename Reducer::Part start) {
  const T* const rows[] = {x};
  Row<T, Shape> row(rows, begin, end - begin);
  auto total = start, part = start;
  int batches = 0;
  row.each([&](const auto& batch) {
    constexpr int items = batch.items;
    reducer.template add<items>(
        part, batch.valid_items(), [&](int k) { return batch.item(k); },
        [&](int k) { return begin + batch.column_of(k); });
    if (++batches % batches_of_stretch == 0) {
      total = reducer(total, part);
      part = start;
    }
  });
  return group_reduce<Shape::lanes>(reducer(total, part), reducer);
}

// Several rows per block.
template <typename T, typename Shape, typename Reducer>
__global__ void __launch_bounds__(block_threads)
    reduce_short_rows_kernel(Reducer reducer, const T* x, int64_t rows, int64_t columns) {
  follow_earlier_kernels();
  const int64_t row = (blockIdx.x * (int64_t)block_threads + threadIdx.x) / Shape::lanes;
  const bool exists = row < rows;
  const T* begin = x + (exists ? row * columns : 0);
  const auto start = reducer.start(begin, exists ? columns : 0);
  const auto part = reduce_row<T, Shape>(reducer, begin, 0, exists ? columns : 0, start);
  if (exists && threadIdx.x % Shape::lanes == 0) reducer.finish(row, part);
}

// gridDim.y blocks per row, each a piece of so many columns; the last one to be done merges what the others found.
template <typename T, typename Shape, typename Reducer>
__global__ void __launch_bounds__(block_threads)
    reduce_long_rows_kernel(Reducer reducer, const T* x, int64_t columns, int64_t piece, typename Reducer::Part* parts,
                            unsigned* arrivals) {
  follow_earlier_kernels();
  const int64_t row = blockIdx.x;
  const unsigned pieces = gridDim.y;
  x += row * columns;
  parts += row * pieces;
  const auto start = reducer.start(x, columns);
  const int64_t begin = blockIdx.y * piece, end = begin + piece < columns ? begin + piece : columns;
  auto part = reduce_row<T, Shape>(reducer, x, begin, end, start);
  if (pieces > 1) {
    if (threadIdx.x == 0) parts[blockIdx.y] = part;
    if (!arrives_last(arrivals + row, pieces)) return;
    part = start;
    for (unsigned i = threadIdx.x; i < pieces; i += block_threads) part = reducer(part, parts[i]);
    part = group_reduce<block_threads>(part, reducer);
  }
  if (threadIdx.x == 0) reducer.finish(row, part);
}

// Blocks that keep a GPU busy, some more than it holds at a time so that the last ones even out; reasoned, not
// measured.
constexpr int64_t wanted_blocks = 16 * multiprocessors;
static_assert(wanted_blocks <= arrival_count);

template <typename T, int width, typename Reducer>
void reduce_rows(Stream stream, const Reducer& reducer, const T* x, int64_t rows, int64_t columns) {
  auto launch_short = [&](auto shape) {
    using Shape = decltype(shape);
    launch(stream, divide_up(rows, block_threads / Shape::lanes), block_threads,
           reduce_short_rows_kernel<T, Shape, Reducer>, reducer, x, rows, columns);
  };
  // One batch of 4 lanes is 64 floats. A warp reads 4 batches of 512 one after the other, a block 4096 at once.
  if (columns * (int64_t)sizeof(T) <= 256) return launch_short(StreamedRow<T, 4, width>{});
  if (columns * (int64_t)sizeof(T) <= 8192) return launch_short(StreamedRow<T, warp_threads, width>{});

  using Shape = StreamedRow<T, block_threads, width>;
  constexpr int64_t batch = Shape::stride * Shape::packs;
  int64_t pieces = 1, batches = divide_up(columns, batch);
  if (rows < wanted_blocks) {
    pieces = divide_up(wanted_blocks, rows);
    // Less than 4 batches (64 KiB) take a block less time than meeting the others at the end.
    if (pieces > batches / 4) pieces = batches / 4;
    if (pieces < 1) pieces = 1;
  }
  const int64_t piece = divide_up(batches, pieces) * batch;
  pieces = divide_up(columns, piece);
  using Part = typename Reducer::Part;
  static_assert(2 * wanted_blocks * sizeof(Part) <= scratch_bytes);
  launch(stream, dim3(rows, pieces), block_threads, reduce_long_rows_kernel<T, Shape, Reducer>, reducer, x, columns,
         piece, static_cast<Part*>(stream.scratch), stream.arrivals);
}

// ---- columns: inner is above 1; the outer x inner outputs are seen as one row of columns

constexpr int rows_of_batch = 8;

// Threads are tile (packs of neighbouring columns) x depth (rows), depth the slower. gridDim.y blocks share the rows of
// a tile, each a piece of so many; the last one to be done merges what the others found.
template <typename T, int width, typename Reducer>
__global__ void __launch_bounds__(block_threads)
    reduce_columns_kernel(Reducer reducer, const T* x, int64_t packs, int64_t reduced, int64_t inner, int64_t piece,
                          int tile, typename Reducer::Part* parts, unsigned* arrivals) {
  follow_earlier_kernels();
  using Part = typename Reducer::Part;
  SHARED(Part, of_thread, [width][block_threads]);
  const int depth = block_threads / tile, x_in_tile = threadIdx.x % tile, level = threadIdx.x / tile;
  const int64_t pack = blockIdx.x * (int64_t)tile + x_in_tile, column = pack * width;
  const bool has_columns = level < depth && pack < packs;
  x += has_columns ? column / inner * reduced * inner + column % inner : 0;
  const int64_t begin = blockIdx.y * piece, end = begin + piece < reduced ? begin + piece : reduced;

  Part start[width], total[width], part[width];
#pragma unroll
  for (int j = 0; j < width; ++j) total[j] = part[j] = start[j] = reducer.start(x + j, has_columns ? reduced : 0);

  int batches = 0;
  const int64_t last = has_columns ? end : 0, step = depth * inner;
  const T* next = x + (begin + level) * inner;
  for (int64_t row = begin + level; row < last; row += rows_of_batch * depth) {
    const int64_t wanted = (last - row + depth - 1) / depth;
    const int valid = wanted < rows_of_batch ? (int)wanted : rows_of_batch;
    Pack<T, width> batch[rows_of_batch];
#pragma unroll
    for (int k = 0; k < rows_of_batch; ++k, next += step)
      batch[k] = k < valid ? *reinterpret_cast<const Pack<T, width>*>(next) : Pack<T, width>{};
#pragma unroll
    for (int j = 0; j < width; ++j)
      reducer.template add<rows_of_batch>(
          part[j], valid, [&](int k) { return batch[k].at[j]; }, [&](int k) { return row + k * depth; });
    if (++batches % batches_of_stretch == 0)
#pragma unroll
      for (int j = 0; j < width; ++j) {
        total[j] = reducer(total[j], part[j]);
        part[j] = start[j];
      }
  }
#pragma unroll
  for (int j = 0; j < width; ++j) total[j] = reducer(total[j], part[j]);

  // Level 0 receives what all levels of its column have, in a tree.
  auto merge_levels = [&] {
    for (int levels = depth; levels > 1;) {
      const int half = (levels + 1) / 2;
      __syncthreads();
#pragma unroll
      for (int j = 0; j < width; ++j) of_thread[j][threadIdx.x] = total[j];
      __syncthreads();
      if (level + half < levels)
#pragma unroll
        for (int j = 0; j < width; ++j) total[j] = reducer(total[j], of_thread[j][threadIdx.x + half * tile]);
      levels = half;
    }
  };
  merge_levels();

  if (gridDim.y > 1) {
    const int64_t columns = packs * width;
    if (has_columns && level == 0)
#pragma unroll
      for (int j = 0; j < width; ++j) parts[blockIdx.y * columns + column + j] = total[j];
    if (!arrives_last(arrivals + blockIdx.x, gridDim.y)) return;
#pragma unroll
    for (int j = 0; j < width; ++j) total[j] = start[j];
    if (has_columns)
#pragma unroll 4
      for (unsigned i = level; i < gridDim.y; i += depth)
#pragma unroll
        for (int j = 0; j < width; ++j) total[j] = reducer(total[j], parts[i * columns + column + j]);
    merge_levels();
  }
  if (has_columns && level == 0)
#pragma unroll
    for (int j = 0; j < width; ++j) reducer.finish(column + j, total[j]);
}

template <typename T, int width, typename Reducer>
void reduce_columns(Stream stream, const Reducer& reducer, const T* x, int64_t outer, int64_t reduced, int64_t inner) {
  const int64_t packs = outer * inner / width;
  // Where rows are few or columns fill the GPU alone, a thread takes whole columns; else warps share their rows, and
  // where a warp's width is not filled, rows that lie beside each other in memory.
  int64_t tile = warp_threads;
  if (reduced <= rows_of_batch || packs >= multiprocessors * 1024)
    tile = block_threads;
  else if (packs < warp_threads)
    tile = packs;
  const int64_t depth = block_threads / tile, tiles = divide_up(packs, tile);

  constexpr int64_t wanted = 4 * multiprocessors;  // less than for rows: one block of a tile reads what all found
  int64_t pieces = 1;
  if (tile <= warp_threads && tiles < wanted) {
    pieces = divide_up(wanted, tiles);
    // Less than 4 batches take a block less time than meeting the others at the end.
    const int64_t most = reduced / (4 * rows_of_batch * depth);
    if (pieces > most) pieces = most < 1 ? 1 : most;
  }
  const int64_t piece = divide_up(divide_up(reduced, pieces), depth) * depth;
  if (piece > 0) pieces = divide_up(reduced, piece);
  using Part = typename Reducer::Part;
  static_assert(2 * wanted * warp_threads * width * sizeof(Part) <= scratch_bytes);
  launch(stream, dim3(tiles, pieces), block_threads, reduce_columns_kernel<T, width, Reducer>, reducer, x, packs,
         reduced, inner, piece, (int)tile, static_cast<Part*>(stream.scratch), stream.arrivals);
}

template <typename T, typename Reducer>
void reduce(Stream stream, const Reducer& reducer, const T* x, int64_t outer, int64_t reduced, int64_t inner) {
  if (outer * inner == 0) return;
  constexpr int width = pack_width<T>;
  const bool are_packs = is_aligned(pack_bytes, x);
  if (inner == 1) {
    // A single row need not end with a pack.
    if (are_packs && (outer == 1 || reduced % width == 0))
      return reduce_rows<T, width>(stream, reducer, x, outer, reduced);
    return reduce_rows<T, 1>(stream, reducer, x, outer, reduced);
  }
  if (are_packs && inner % width == 0) return reduce_columns<T, width>(stream, reducer, x, outer, reduced, inner);
  reduce_columns<T, 1>(stream, reducer, x, outer, reduced, inner);
}

// out[o, i] = (sum over r of x[o, r, i]) / divisor
template <typename T>
void sum_forward(Stream stream, const T* x, T* out, int64_t outer, int64_t reduced, int64_t inner, double divisor) {
  reduce(stream, Summation<T>{out, (T)divisor}, x, outer, reduced, inner);
}

// out[o, i] = max over r of x[o, r, i], index = its first place
template <typename T>
void max_forward(Stream stream, const T* x, T* out, int64_t* index, int64_t outer, int64_t reduced, int64_t inner) {
  if (reduced > 0) reduce(stream, Extreme<T, Greater>{out, index}, x, outer, reduced, inner);
}

// out[o, i] = min over r of x[o, r, i], index = its first place
template <typename T>
void min_forward(Stream stream, const T* x, T* out, int64_t* index, int64_t outer, int64_t reduced, int64_t inner) {
  if (reduced > 0) reduce(stream, Extreme<T, Less>{out, index}, x, outer, reduced, inner);
}

// mean over r; out = sum over r of (x[o, r, i] - mean)^2 / max(0, reduced - correction)
template <typename T>
void var_forward(Stream stream, const T* x, T* mean, T* out, int64_t outer, int64_t reduced, int64_t inner,
                 double correction) {
  reduce(stream, Variance<T>{mean, out, reduced, correction}, x, outer, reduced, inner);
}

}  // namespace
EXPORT(sum_forward)
EXPORT(max_forward)
EXPORT(min_forward)
EXPORT(var_forward)

}  // namespace MINIDL_TARGET
