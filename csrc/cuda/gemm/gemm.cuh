// The general product: every block multiplies a tile of out over a share of k; the last block of a tile adds the
// shares.
#pragma once
#include <type_traits>

#include "epilogue.cuh"
#include "loader.cuh"
#include "multiplier.cuh"
#include "plan.cuh"
#include "raster.cuh"
#include "tensor_multiplier.cuh"
#include "warpgroup_products.h"

namespace MINIDL_TARGET {
namespace {

// The sums of a's lines, whose stages are [depth][m]: a thread takes a vector of lines and some of the steps.
template <class Tile>
struct LineSums {
  using T = typename Tile::T;
  static constexpr int size = vector_size<T>, row_vectors = Tile::m / size;
  static constexpr int vectors = Tile::m * Tile::depth / size / Tile::threads, rows = Tile::threads / row_vectors;
  T sum[size] = {};

  __device__ void add(const T* stage) {
#pragma unroll
    for (int i = 0; i < vectors; ++i) {
      int row = threadIdx.x / row_vectors + i * rows;
      int vector = threadIdx.x % row_vectors ^ exchange_of_step<Tile::uses_tensor_cores>(row);
      Vector<T> loaded = ((const Vector<T>*)stage)[row * row_vectors + vector];
#pragma unroll
      for (int e = 0; e < size; ++e) sum[e] += loaded.values[e];
    }
  }

  // The sum of line threadIdx.x, through shared memory that nobody else uses.
  __device__ T total(T* shared) const {
#pragma unroll
    for (int e = 0; e < size; ++e) shared[threadIdx.x * size + e] = sum[e];
    __syncthreads();
    T result = 0;
    if (threadIdx.x < Tile::m)
      for (int row = 0; row < rows; ++row) result += shared[row * Tile::m + threadIdx.x];
    __syncthreads();
    return result;
  }
};

// Multiplies `depth` steps, stage by stage. A step is read while the one before it is multiplied: the last of a stage
// lies in registers when all threads meet, and its slot is free for the stage that comes `stages` later.
template <class Tile, class Multiplier, class StageAt, class Fetch, class Deposit, class AddLines>
__device__ void multiply_read_ahead(Multiplier& product, int depth, StageAt stage_at, Fetch fetch, Deposit deposit,
                                    AddLines add_lines) {
  if (depth <= 0) return;
#pragma unroll 1
  for (int slot = 0; slot < Tile::stages; ++slot) {
    fetch(slot, depth - slot * Tile::depth);
    deposit(slot, depth - slot * Tile::depth);
  }
  wait_for_copies<Tile::stages - 1>();
  __syncthreads();
  product.read(stage_at(0), 0);
  int slot = 0, steps = depth;
#pragma unroll 1
  while (true) {
    add_lines(stage_at(slot));
#pragma unroll
    for (int step = 0; step < Tile::slice_depth - 1; ++step) {
      product.read(stage_at(slot), step + 1);
      product.multiply(step);
    }
    if (steps <= Tile::depth) break;
    if (steps < depth) deposit(slot > 0 ? slot - 1 : Tile::stages - 1, steps - (Tile::stages - 1) * Tile::depth);
    wait_for_copies<Tile::stages - 2>();
    __syncthreads();
    int next_slot = slot + 1 < Tile::stages ? slot + 1 : 0;
    product.read(stage_at(next_slot), 0);
    fetch(slot, steps - Tile::stages * Tile::depth);
    slot = next_slot;
    product.multiply(Tile::slice_depth - 1);
    steps -= Tile::depth;
  }
  // Behind the loop, so that the sums need not lie in it as vectors do: there half of all multiply-adds would find
  // their three operands in one bank of the register file.
  product.multiply(Tile::slice_depth - 1);
}

// out[b] (m x n) = epilogue(a[b] (m x k) b[b] (k x n)); line_sums = sums of a over k
template <class Tile, bool a_contiguous, bool b_contiguous>
__global__ void __launch_bounds__(Tile::threads, has_async_copies ? Tile::resident_blocks : 1)
    multiply_kernel(Product<typename Tile::T> p, Plan plan, bool a_vectorized, bool b_vectorized, bool out_vectorized,
                    void* scratch, unsigned* arrivals) {
  follow_earlier_kernels();
  using T = typename Tile::T;
  constexpr int size = vector_size<T>;
  DYNAMIC_SHARED(T, shared);

  unsigned split = blockIdx.x % plan.splits, tile = blockIdx.x / plan.splits;
  unsigned batch = tile / (plan.tiles_m * plan.tiles_n);
  TilePlace place = tile_place(tile % (plan.tiles_m * plan.tiles_n), plan.tiles_m, plan.tiles_n);
  int64_t first_m = (int64_t)place.m * Tile::m, first_n = (int64_t)place.n * Tile::n;
  int64_t first_step = split * (int64_t)plan.split_depth;
  int depth = p.k - first_step < plan.split_depth ? (int)(p.k - first_step) : plan.split_depth;
  bool has_line_sums = !a_contiguous && !b_contiguous && p.line_sums && place.n == 0;

  using LoaderA =
      std::conditional_t<Tile::uses_tensor_cores, Loader<Tile, Tile::m, Tile::reading_lanes_m, a_contiguous>,
                         StepLoader<Tile, Tile::m, a_contiguous>>;
  using LoaderB =
      std::conditional_t<Tile::uses_tensor_cores, Loader<Tile, Tile::n, Tile::reading_lanes_n, b_contiguous>,
                         StepLoader<Tile, Tile::n, b_contiguous>>;
  LoaderA a(p.a, a_vectorized, batch, first_m, first_step);
  LoaderB b(p.b, b_vectorized, batch, first_n, first_step);
  std::conditional_t<Tile::uses_tensor_cores, TensorMultiplier<Tile, a_contiguous, b_contiguous>,
                     Multiplier<Tile, a_contiguous, b_contiguous>>
      product;
  LineSums<Tile> line_sums;

  auto stage_at = [=](int slot) { return shared + slot * Tile::stage_size; };
  auto fetch = [&](int slot, int steps) {
    if (steps > 0) {
      a.fetch(stage_at(slot), steps);
      b.fetch(stage_at(slot) + Tile::stage_a_size, steps);
    }
    close_copy_group();
  };
  auto deposit = [&](int slot, int steps) {
    if (steps > 0) {
      a.deposit(stage_at(slot));
      b.deposit(stage_at(slot) + Tile::stage_a_size);
    }
  };
  if constexpr (!Tile::uses_tensor_cores) {
    multiply_read_ahead<Tile>(product, depth, stage_at, fetch, deposit, [&](const T* stage) {
      if (has_line_sums) line_sums.add(stage);
    });
  } else {
    // Fill all stages but one
#pragma unroll
    for (int slot = 0; slot < Tile::stages - 1; ++slot) {
      fetch(slot, depth - slot * Tile::depth);
      deposit(slot, depth - slot * Tile::depth);
    }

    // Multiply one stage while the next are on their way
    int slot = 0;
    for (int steps = depth; steps > 0; steps -= Tile::depth) {
      wait_for_copies<Tile::stages - 2>();
      __syncthreads();
      int steps_to_fetch = steps - (Tile::stages - 1) * Tile::depth;
      int free_slot = slot > 0 ? slot - 1 : Tile::stages - 1;
      fetch(free_slot, steps_to_fetch);
      if (Tile::slices == 1 || product.slice * Tile::slice_depth < steps) product.multiply(stage_at(slot));
      if (has_line_sums) line_sums.add(stage_at(slot));
      deposit(free_slot, steps_to_fetch);
      slot = slot + 1 < Tile::stages ? slot + 1 : 0;
    }
  }
  wait_for_copies<0>();
  __syncthreads();
  T line_sum = has_line_sums ? line_sums.total(shared) : T(0);

  // Add the slices
  Vector<T> sums[Tile::own_vectors];
#pragma unroll
  for (int i = 0; i < Tile::own_vectors; ++i) {
    if constexpr (Tile::slices == 1) sums[i] = product.vector(i);
  }
  if constexpr (Tile::slices > 1) {
    Vector<T>* exchange = (Vector<T>*)shared;
#pragma unroll
    for (int first = 0; first < Tile::own_vectors; first += Tile::exchanged_vectors) {
      if (first > 0) __syncthreads();
#pragma unroll
      for (int index = 0; index < Tile::exchanged_vectors * Tile::slices; ++index)
        exchange[index * Tile::threads + threadIdx.x] = product.vector(first * Tile::slices + index);
      __syncthreads();
#pragma unroll
      for (int i = 0; i < Tile::exchanged_vectors; ++i) {
        const Vector<T>* from =
            exchange + (i * Tile::slices + product.slice) * Tile::threads + threadIdx.x % Tile::slice_threads;
        sums[first + i] = *from;
#pragma unroll
        for (int slice = 1; slice < Tile::slices; ++slice) add(sums[first + i], from[slice * Tile::slice_threads]);
      }
    }
  }

  // Add the splits: in the first block of their cluster, or in the last block of the tile to arrive
  if (has_clusters && plan.in_cluster) {
    Vector<T>* own = (Vector<T>*)shared + threadIdx.x;
    T* own_line_sum = shared + Tile::m * Tile::n + threadIdx.x;
    if (Tile::slices > 1) __syncthreads();
#pragma unroll
    for (int i = 0; i < Tile::own_vectors; ++i) own[i * Tile::threads] = sums[i];
    if (has_line_sums && threadIdx.x < Tile::m) *own_line_sum = line_sum;
    sync_cluster();
    if (split == 0) {
#pragma unroll 1
      for (unsigned other = 1; other < plan.splits; ++other) {
#pragma unroll
        for (int i = 0; i < Tile::own_vectors; ++i)
          add(sums[i], load_from_block_of_cluster(own + i * Tile::threads, other));
        if (has_line_sums && threadIdx.x < Tile::m) line_sum += load_from_block_of_cluster(own_line_sum, other);
      }
    }
    sync_cluster();  // shared memory is there until the first block has read it
    if (split > 0) return;
  } else if (plan.splits > 1) {
    T* partial = (T*)scratch + (int64_t)tile * plan.splits * Tile::partial_size;
    auto sums_of = [=](unsigned split) { return (Vector<T>*)(partial + (int64_t)split * Tile::partial_size); };
    auto line_sum_of = [=](unsigned split) {
      return partial + (int64_t)split * Tile::partial_size + Tile::m * Tile::n + threadIdx.x;
    };
#pragma unroll
    for (int i = 0; i < Tile::own_vectors; ++i) sums_of(split)[i * Tile::threads + threadIdx.x] = sums[i];
    if (has_line_sums && threadIdx.x < Tile::m) *line_sum_of(split) = line_sum;
    if (!arrives_last(arrivals + tile, plan.splits)) return;
#pragma unroll
    for (int i = 0; i < Tile::own_vectors; ++i)
      sums[i] = load_from_other_blocks(sums_of(0) + i * Tile::threads + threadIdx.x);
    // Enough loads under way in any case; more at once would not find registers.
    constexpr int splits_at_once = Tile::own_vectors > 4 ? 1 : 4;
#pragma unroll splits_at_once
    for (unsigned other = 1; other < plan.splits; ++other)
#pragma unroll
      for (int i = 0; i < Tile::own_vectors; ++i)
        add(sums[i], load_from_other_blocks(sums_of(other) + i * Tile::threads + threadIdx.x));
    if (has_line_sums && threadIdx.x < Tile::m) {
      line_sum = *line_sum_of(0);
      for (unsigned other = 1; other < plan.splits; ++other) line_sum += *line_sum_of(other);
    }
  }

  // Write, a few vectors at a time: what else goes into them is read at once
  Epilogue<T> to(p, out_vectorized, batch);
  struct Kept {
    Vector<T> sums;
    typename Epilogue<T>::Inputs inputs;
  };
  Kept* kept = (Kept*)shared + threadIdx.x;
  constexpr int kept_vectors = Tile::written_vectors;
  static_assert(kept_vectors * Tile::threads * sizeof(Kept) <= Tile::shared_size * sizeof(T));
  auto write_place = [&](int i, auto visit) {
    int index = i * Tile::slices + product.slice;
    int64_t row = first_m + product.row(index), column = first_n + product.column(index), columns = p.n - column;
    if (row < p.m && columns > 0) visit(row, column, columns < size ? (int)columns : size);
  };
  if (Tile::slices > 1) __syncthreads();
#pragma unroll
  for (int first = 0; first < Tile::own_vectors; first += kept_vectors) {
#pragma unroll
    for (int i = 0; i < kept_vectors; ++i) kept[i * Tile::threads].sums = sums[first + i];
    if (p.accumulate || p.saved) {
      typename Epilogue<T>::Inputs inputs[kept_vectors];
#pragma unroll
      for (int i = 0; i < kept_vectors; ++i)
        write_place(first + i,
                    [&](int64_t row, int64_t column, int columns) { inputs[i] = to.load(row, column, columns); });
#pragma unroll
      for (int i = 0; i < kept_vectors; ++i) kept[i * Tile::threads].inputs = inputs[i];
    }
#pragma unroll 1
    for (int i = 0; i < kept_vectors; ++i)
      write_place(first + i, [&](int64_t row, int64_t column, int columns) {
        const Kept& vector = kept[i * Tile::threads];
        to.store(row, column, vector.sums, columns, vector.inputs);
      });
  }
  if (has_line_sums && threadIdx.x < Tile::m && first_m + threadIdx.x < p.m) {
    T* line_sum_out = p.line_sums + first_m + threadIdx.x;
    *line_sum_out = p.accumulate ? *line_sum_out + line_sum : line_sum;
  }
}

// ---- which kernel

template <typename T>
using MultiplyKernel = void(Product<T>, Plan, bool, bool, bool, void*, unsigned*);

constexpr unsigned most_blocks_of_cluster = 8;  // that every GPU with clusters can form

// Whether the splits of a tile shall be the blocks of a cluster, which saves a fence and trips to L2. Measured on an
// H200 in us: 128 x 128 x 256 in 16 tiles of 4 splits 5.4 -> 4.7, 128 x 512 x 784 in 64 of 2 splits 9.7 -> 9.0; but 128
// x 256 x 784 in 32 of 4 splits 7.7 -> 9.3: the blocks of larger clusters are put side by side on few multiprocessors.
inline bool gains_by_clusters(int64_t tiles, unsigned splits) {
  return splits == 2 || (splits > 2 && splits <= most_blocks_of_cluster && tiles * splits <= multiprocessors / 2);
}

template <class Tile>
void multiply_in_tiles(Stream stream, const Product<typename Tile::T>& p, Plan plan) {
  using T = typename Tile::T;
  const int64_t tiles = p.batch * plan.tiles_m * plan.tiles_n;
  plan.in_cluster = has_clusters && stream.has_clusters && gains_by_clusters(tiles, plan.splits) &&
                    Tile::partial_size <= Tile::shared_size;
  static constexpr MultiplyKernel<T>* kernels[2][2] = {
      {multiply_kernel<Tile, false, false>, multiply_kernel<Tile, false, true>},
      {multiply_kernel<Tile, true, false>, multiply_kernel<Tile, true, true>}};
  launch_in_clusters(stream, plan.in_cluster ? plan.splits : 1, (unsigned)(tiles * plan.splits), Tile::threads,
                     Tile::shared_size * sizeof(T), kernels[p.a.has_contiguous_lines][p.b.has_contiguous_lines], p,
                     plan, p.a.is_vectorized(), p.b.is_vectorized(), has_vector_outputs(p), stream.scratch,
                     stream.arrivals);
}

template <typename T, class... Tile>
void multiply_in_tiles(Stream stream, const Product<T>& p, TileList<Tile...> tiles) {
  // Columns of tiles without a column of out write no out, but line_sums.
  Plan plan = choose_plan<T>(tiles, p.batch, p.m, p.line_sums && p.n == 0 ? 1 : p.n, p.k);
  int tile = 0;
  ((tile++ == plan.tile ? multiply_in_tiles<Tile>(stream, p, plan) : void()), ...);
}

template <typename T>
void multiply_in_tiles(Stream stream, const Product<T>& p) {
  if constexpr (sizeof(T) == sizeof(float)) {
    if (multiply_by_warpgroups(stream, p)) return;
    if (stream.allows_bfloat16) return multiply_in_tiles(stream, p, tiles_for<T, Arithmetic::bfloat16>());
    if (stream.allows_tf32) return multiply_in_tiles(stream, p, tiles_for<T, Arithmetic::tf32>());
  }
  multiply_in_tiles(stream, p, tiles_for<T, Arithmetic::multiply_add>());
}

}  // namespace
}  // namespace MINIDL_TARGET
