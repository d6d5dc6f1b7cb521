// The product of factors rounded to TF32 or bfloat16 by Hopper's warpgroups. A block has a tile of out, or shares its
// steps with the other blocks of a cluster.
#pragma once
#include "epilogue.cuh"
#include "raster.cuh"
#include "warpgroup_feeder.cuh"

namespace MINIDL_TARGET {
namespace {

struct WarpgroupPlan {
  unsigned tiles_m, tiles_n, splits;
  int split_depth;  // steps of k of every split but the last
};

// Where a block works.
struct WarpgroupPlace {
  unsigned split, batch;
  int64_t first_m, first_n, first_step;
  int depth;
  bool has_line_sums;

  template <class Tile>
  static __device__ WarpgroupPlace of_block(const Product<float>& p, const WarpgroupPlan& plan) {
    WarpgroupPlace at;
    unsigned tile = blockIdx.x / plan.splits, tiles = plan.tiles_m * plan.tiles_n;
    TilePlace place = tile_place(tile % tiles, plan.tiles_m, plan.tiles_n);
    at.split = blockIdx.x % plan.splits;
    at.batch = tile / tiles;
    at.first_m = (int64_t)place.m * Tile::m;
    at.first_n = (int64_t)place.n * Tile::n;
    at.first_step = at.split * (int64_t)plan.split_depth;
    int64_t left = p.k - at.first_step;
    at.depth = left < plan.split_depth ? (left > 0 ? (int)left : 0) : plan.split_depth;
    at.has_line_sums = p.line_sums && place.n == 0;
    return at;
  }
};

// A block's shared memory; the stages give way to the sums in the end.
template <class Tile>
struct WarpgroupShared {
  static constexpr int alignment = 1024;  // the exchange of pieces within lines goes by address
  static constexpr int bytes = alignment + Tile::stages * (Tile::stage_bytes + 2 * (int)sizeof(uint64_t)) +
                               Tile::line_sum_parts * Tile::m * (int)sizeof(float);
  static constexpr int row_vectors = Tile::n / 4;
  char* stages;
  Vector<float>* sums;
  float* line_sums;
  uint64_t *full, *free;  // barriers of each stage

  __device__ explicit WarpgroupShared(char* dynamic)
      : stages(dynamic + (-shared_address(dynamic) & (alignment - 1))),
        sums((Vector<float>*)stages),
        line_sums((float*)(stages + Tile::stages * Tile::stage_bytes)),
        full((uint64_t*)(line_sums + Tile::line_sum_parts * Tile::m)),
        free(full + Tile::stages) {}

  __device__ char* stage(int slot) const { return stages + slot * Tile::stage_bytes; }
  // Pairs of vectors change places in every second group of 4 rows: lanes with the same columns meet no bank twice.
  __device__ Vector<float>* sums_at(int row, int vector) const {
    return sums + row * row_vectors + (vector ^ row / 4 % 2);
  }
};

// The stages in turn; parity tells the rounds apart.
template <class Tile>
struct Slot {
  int number = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++number == Tile::stages) number = 0, parity ^= 1;
  }
};

enum NamedBarrier { all_threads = 1, all_multipliers };

template <class Tile, bool a_contiguous, bool b_contiguous>
__device__ void feed(const Product<float>& p, const WarpgroupPlace& at, const WarpgroupShared<Tile>& shared) {
  Feeder<Tile, Tile::m, a_contiguous> a(p.a, at.batch, at.first_m, at.first_step, at.depth);
  Feeder<Tile, Tile::n, b_contiguous> b(p.b, at.batch, at.first_n, at.first_step, at.depth);
  typename decltype(a)::LineSums line_sums = {};
#pragma unroll
  for (int held = 0; held < Tile::stages_held; ++held) {
#pragma unroll
    for (int square = 0; square < a.squares; ++square) a.load(held, square);
#pragma unroll
    for (int square = 0; square < b.squares; ++square) b.load(held, square);
    a.advance();
    b.advance();
  }
  __syncthreads();
  Slot<Tile> slot;
#pragma unroll 1
  for (int first = 0; first < at.depth; first += Tile::stages_held * Tile::depth)
#pragma unroll
    for (int held = 0; held < Tile::stages_held; ++held) {
      if (first + held * Tile::depth >= at.depth) break;
      char* stage = shared.stage(slot.number);
      wait(shared.free + slot.number, slot.parity ^ 1);
      if (!a_contiguous && !b_contiguous && at.has_line_sums) a.add_to(line_sums, held);
    // A square is under way again as soon as its registers are free
#pragma unroll
      for (int square = 0; square < a.squares; ++square) {
        a.store(stage, held, square);
        a.load(held, square);
      }
#pragma unroll
      for (int square = 0; square < b.squares; ++square) {
        b.store(stage + Tile::m * Tile::line_bytes, held, square);
        b.load(held, square);
      }
      a.advance();
      b.advance();
      __syncwarp();
      if (threadIdx.x % warp_threads == 0) arrive(shared.full + slot.number);
      slot.advance();
    }
  if (!a_contiguous && !b_contiguous && at.has_line_sums) a.store_sums(shared.line_sums, line_sums);
}

// One warpgroup's half of the sums.
template <class Tile>
using WarpgroupSums = float[Tile::instructions][instruction_n / 2];

template <class Tile>
__device__ void multiply_stages(WarpgroupSums<Tile>& sums, int depth, const WarpgroupShared<Tile>& shared) {
  int first_row = threadIdx.x / warpgroup_threads * 64;
  uint64_t a = describe_lines<Tile::line_bytes>(shared.stages + first_row * Tile::line_bytes);
  uint64_t b = describe_lines<Tile::line_bytes>(shared.stages + Tile::m * Tile::line_bytes);
  for (auto& instruction_sums : sums) settle(instruction_sums);
  Slot<Tile> slot;
  int previous = 0;
  for (int first = 0; first < depth; first += Tile::depth) {
    wait(shared.full + slot.number, slot.parity);
    // By the readers, not the writers: the fence would wait for what those have begun to load
    see_writes_in_products();
    open_products();
#pragma unroll
    for (int bytes = 0; bytes < Tile::line_bytes; bytes += instruction_bytes)
#pragma unroll
      for (int i = 0; i < Tile::instructions; ++i) {
        int a_bytes = slot.number * Tile::stage_bytes + bytes;
        int b_bytes = a_bytes + i * instruction_n * Tile::line_bytes;
        multiply_add<Tile::is_bfloat16>(sums[i], a + a_bytes / 16, b + b_bytes / 16);
      }
    close_product_group();
    wait_for_products<1>();
    if (first > 0 && threadIdx.x % warp_threads == 0) arrive(shared.free + previous);
    previous = slot.number;
    slot.advance();
  }
  wait_for_products<0>();
  for (auto& instruction_sums : sums) settle(instruction_sums);
}

// To shared memory, row by row of the tile.
template <class Tile>
__device__ void store_sums(const WarpgroupSums<Tile>& sums, const WarpgroupShared<Tile>& shared) {
  int warp = threadIdx.x / warp_threads, lane = threadIdx.x % warp_threads;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int row = line_of_row(warp * 16 + half * 8 + lane / 4);
    // The thread's columns 8 e + lane % 4 * 2 + odd of 32 are lines lane % 4 * 8 + odd * 4 + e
#pragma unroll
    for (int group = 0; group < Tile::n / 32; ++group) {
      const float* here = sums[group * 32 / instruction_n] + group * 32 % instruction_n / 2 + half * 2;
#pragma unroll
      for (int odd = 0; odd < 2; ++odd)
        *shared.sums_at(row, group * 8 + lane % 4 * 2 + odd) = {here[odd], here[4 + odd], here[8 + odd],
                                                                here[12 + odd]};
    }
  }
}

// The share of a tile's rows that one of the cluster's blocks writes, from the sums of all of them.
template <class Tile>
__device__ void write_rows(const Product<float>& p, const WarpgroupPlan& plan, const WarpgroupPlace& at,
                           const WarpgroupShared<Tile>& shared, bool out_vectorized) {
  constexpr int row_vectors = shared.row_vectors, rows_at_once = Tile::multipliers / row_vectors, batch_rows = 4;
  Epilogue<float> to(p, out_vectorized, at.batch);
  int vector = threadIdx.x % row_vectors, share = Tile::m / plan.splits, first = at.split * share;
  int64_t column = at.first_n + vector * 4, rows_left = p.m - at.first_m, columns_left = p.n - column;
  int end = rows_left < first + share ? (int)rows_left : first + share;
  int columns = columns_left < 4 ? (int)columns_left : 4;
  if (columns <= 0) return;
#pragma unroll 1
  for (int row = first + threadIdx.x / row_vectors; row < end; row += batch_rows * rows_at_once) {
    Vector<float> sums[batch_rows];
    Epilogue<float>::Inputs inputs[batch_rows];
#pragma unroll
    for (int i = 0; i < batch_rows; ++i)
      if (int here = row + i * rows_at_once; here < end) {
        inputs[i] = to.load(at.first_m + here, column, columns);
        sums[i] = plan.splits == 1 ? *shared.sums_at(here, vector)
                                   : load_from_block_of_cluster(shared.sums_at(here, vector), 0);
      }
#pragma unroll 1
    for (unsigned other = 1; other < plan.splits; ++other)
#pragma unroll
      for (int i = 0; i < batch_rows; ++i)
        if (int here = row + i * rows_at_once; here < end)
          add(sums[i], load_from_block_of_cluster(shared.sums_at(here, vector), other));
#pragma unroll
    for (int i = 0; i < batch_rows; ++i)
      if (int here = row + i * rows_at_once; here < end)
        to.store(at.first_m + here, column, sums[i], columns, inputs[i]);
  }
}

template <class Tile>
__device__ void write_line_sums(const Product<float>& p, const WarpgroupPlan& plan, const WarpgroupPlace& at,
                                const WarpgroupShared<Tile>& shared) {
  if (at.split > 0 || threadIdx.x >= Tile::m || at.first_m + threadIdx.x >= p.m) return;
  float sum = 0;
  for (unsigned block = 0; block < plan.splits; ++block)
    for (int part = 0; part < Tile::line_sum_parts; ++part) {
      const float* here = shared.line_sums + part * Tile::m + threadIdx.x;
      sum += plan.splits == 1 ? *here : load_from_block_of_cluster(here, block);
    }
  float* out = p.line_sums + at.first_m + threadIdx.x;
  *out = p.accumulate ? *out + sum : sum;
}

// out[b] (m x n) = epilogue(a[b] (m x k) b[b] (k x n)); line_sums = sums of a over k
template <class Tile, bool a_contiguous, bool b_contiguous>
__global__ void __launch_bounds__(Tile::threads, 1)
    multiply_by_warpgroups_kernel(const __grid_constant__ Product<float> p, WarpgroupPlan plan, bool out_vectorized) {
  follow_earlier_kernels();
  DYNAMIC_SHARED(char, dynamic);
  WarpgroupShared<Tile> shared(dynamic);
  WarpgroupPlace at = WarpgroupPlace::of_block<Tile>(p, plan);
  if (threadIdx.x == 0)
    for (int slot = 0; slot < Tile::stages; ++slot) {
      init_barrier(shared.full + slot, Tile::feeders / warp_threads);
      init_barrier(shared.free + slot, Tile::multipliers / warp_threads);
    }

  if (threadIdx.x >= Tile::multipliers) {
    give_registers_back<Tile::feeder_registers>();
    feed<Tile, a_contiguous, b_contiguous>(p, at, shared);
    arrive_at(all_threads, Tile::threads);
    return;
  }
  take_registers<Tile::multiplier_registers>();
  __syncthreads();
  WarpgroupSums<Tile> sums = {};
  multiply_stages<Tile>(sums, at.depth, shared);
  meet_at(all_threads, Tile::threads);  // the stages are not needed any more
  store_sums<Tile>(sums, shared);
  if (plan.splits > 1)
    sync_cluster();
  else
    meet_at(all_multipliers, Tile::multipliers);
  write_rows(p, plan, at, shared, out_vectorized);
  if (!a_contiguous && !b_contiguous && at.has_line_sums) write_line_sums(p, plan, at, shared);
  if (plan.splits > 1) sync_cluster_after_reading();  // shared memory is there until others have read it
}

template <class Tile>
void multiply_in_warpgroup_tiles(Stream stream, const Product<float>& p, const WarpgroupPlan& plan) {
  using Kernel = void(Product<float>, WarpgroupPlan, bool);
  static constexpr Kernel* kernels[2][2] = {
      {multiply_by_warpgroups_kernel<Tile, false, false>, multiply_by_warpgroups_kernel<Tile, false, true>},
      {multiply_by_warpgroups_kernel<Tile, true, false>, multiply_by_warpgroups_kernel<Tile, true, true>}};
  launch_in_clusters(stream, plan.splits, (unsigned)p.batch * plan.tiles_m * plan.tiles_n * plan.splits, Tile::threads,
                     WarpgroupShared<Tile>::bytes, kernels[p.a.has_contiguous_lines][p.b.has_contiguous_lines], p, plan,
                     has_vector_outputs(p));
}

}  // namespace
}  // namespace MINIDL_TARGET
