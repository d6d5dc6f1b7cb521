// Which products go to warpgroups, and in which tiles: a function of the shape alone.
#include "gemm/warpgroup_products.h"

#include <limits.h>
#include <math.h>

#include "gemm/warpgroup.cuh"

namespace MINIDL_TARGET {

namespace {

// Microseconds, measured on an H200: of a stage, mostly for its way from L2 through registers to shared memory, by the
// number of factors whose lines lie side by side; of a block besides its stages and sums; and of 1024 sums on their way
// to out.
template <class Tile>
constexpr double stage_us[3] = {0.7, 1.0, 1.2};
template <>
constexpr double stage_us<WarpgroupTile<Arithmetic::tf32, 256>>[3] = {1.25, 2.1, 2.6};
template <>
constexpr double stage_us<WarpgroupTile<Arithmetic::bfloat16, 128>>[3] = {0.55, 0.55, 0.85};
template <>
constexpr double stage_us<WarpgroupTile<Arithmetic::bfloat16, 256>>[3] = {1.0, 1.0, 1.1};
constexpr double block_us = 5.5, sums_us = 0.25;

// The same of the other kernels for rounded factors: 1024^3 takes them 38 us, 4096^3 1050.
double other_kernels_us(double multiply_adds) { return 20 + multiply_adds / 65e6; }

// How many blocks run at one time: not every four neighbouring multiprocessors can form a cluster.
constexpr int64_t blocks_at_once(unsigned splits) { return splits == 4 ? 96 : multiprocessors; }

// Below that, tiles of other kernels fill more multiprocessors.
constexpr int64_t least_lines = 128, least_blocks = 32;
constexpr double least_multiply_adds = 1 << 27;

struct Choice {
  double us = INFINITY;
  int64_t blocks = 0;
  WarpgroupPlan plan = {};
  void (*multiply)(Stream, const Product<float>&, const WarpgroupPlan&) = nullptr;
};

template <class Tile>
Choice better_choice(const Product<float>& p, Choice best) {
  int64_t tiles_m = divide_up(p.m, Tile::m), tiles_n = divide_up(p.n, Tile::n);
  double one_stage_us = stage_us<Tile>[!p.a.has_contiguous_lines + !p.b.has_contiguous_lines];
  for (unsigned splits : {1, 2, 4}) {
    int64_t stages = divide_up(divide_up(p.k, splits), Tile::depth), blocks = p.batch * tiles_m * tiles_n * splits;
    double us = block_us + Tile::m * Tile::n / splits / 1024 * sums_us + stages * one_stage_us;
    us *= divide_up(blocks, blocks_at_once(splits));
    if (us < best.us)
      best = {us,
              blocks,
              {(unsigned)tiles_m, (unsigned)tiles_n, splits, (int)(stages * Tile::depth)},
              multiply_in_warpgroup_tiles<Tile>};
  }
  return best;
}

template <Arithmetic kind>
bool multiply(Stream stream, const Product<float>& p, double multiply_adds) {
  Choice choice = better_choice<WarpgroupTile<kind, 128>>(p, better_choice<WarpgroupTile<kind, 256>>(p, {}));
  if (choice.blocks < least_blocks || choice.blocks > INT_MAX) return false;
  if (choice.us > other_kernels_us(multiply_adds)) return false;
  choice.multiply(stream, p, choice.plan);
  return true;
}

// Vectors are loaded whole, and a tile's lines addressed by 32 bits.
bool is_feedable(const Factor<float>& factor) { return factor.is_vectorized() && factor.stride() < 1 << 22; }

}  // namespace

bool multiply_by_warpgroups(Stream stream, const Product<float>& p) {
  double multiply_adds = (double)p.batch * p.m * p.n * p.k;
  bool is_large = p.m >= least_lines && p.n >= least_lines && p.k < INT_MAX / 2 && multiply_adds >= least_multiply_adds;
  if (!stream.has_warpgroup_products || !is_large || !is_feedable(p.a) || !is_feedable(p.b)) return false;
  if (stream.allows_bfloat16) return multiply<Arithmetic::bfloat16>(stream, p, multiply_adds);
  if (stream.allows_tf32) return multiply<Arithmetic::tf32>(stream, p, multiply_adds);
  return false;
}

}  // namespace MINIDL_TARGET
