// Which products go to warpgroups, and in which tiles.
#include "gemm/warpgroup_products.h"

#include <limits.h>

#include "gemm/warpgroup.cuh"

namespace MINIDL_TARGET {

namespace {

// Cycles of an H200, from measured times: of a stage, mostly for its way from L2 through registers to shared memory; of
// a block besides its stages; and of adding up the sums of a cluster.
template <class Tile>
constexpr double stage_cycles = Tile::n == 256 ? (Tile::is_bfloat16 ? 1500 : 1900) : (Tile::is_bfloat16 ? 950 : 1250);
constexpr double fixed_cycles = 5000, cluster_cycles = 2500;

// Clusters of more blocks seldom find room on neighbouring multiprocessors.
constexpr unsigned most_splits = 2;

// Smaller products fill more multiprocessors in smaller tiles.
constexpr int64_t least_lines = 128, least_sums = 512 * 512;

struct Choice {
  double cycles = INFINITY;
  WarpgroupPlan plan = {};
  void (*multiply)(Stream, const Product<float>&, const WarpgroupPlan&) = nullptr;
};

template <class Tile>
Choice choose(const Product<float>& p, Choice best) {
  int64_t tiles_m = divide_up(p.m, Tile::m), tiles_n = divide_up(p.n, Tile::n);
  for (unsigned splits = 1; splits <= most_splits; ++splits) {
    int64_t stages = divide_up(divide_up(p.k, splits), Tile::depth), blocks = p.batch * tiles_m * tiles_n * splits;
    double cycles = divide_up(blocks, multiprocessors) * (fixed_cycles + stages * stage_cycles<Tile>);
    if (splits > 1) cycles += cluster_cycles;
    if (cycles < best.cycles)
      best = {cycles,
              {(unsigned)tiles_m, (unsigned)tiles_n, splits, (int)(stages * Tile::depth)},
              multiply_in_warpgroup_tiles<Tile>};
  }
  return best;
}

template <Arithmetic kind>
void multiply(Stream stream, const Product<float>& p) {
  Choice choice = choose<WarpgroupTile<kind, 128>>(p, choose<WarpgroupTile<kind, 256>>(p, {}));
  choice.multiply(stream, p, choice.plan);
}

// Vectors are loaded whole, and a tile's lines addressed by 32 bits.
bool is_feedable(const Factor<float>& factor) { return factor.is_vectorized() && factor.stride() < 1 << 22; }

}  // namespace

bool multiply_by_warpgroups(Stream stream, const Product<float>& p) {
  bool is_large = p.m >= least_lines && p.n >= least_lines && p.batch * p.m * p.n >= least_sums && p.k < INT_MAX / 2;
  if (!stream.has_warpgroup_products || !is_large || !is_feedable(p.a) || !is_feedable(p.b)) return false;
  if (stream.allows_bfloat16)
    multiply<Arithmetic::bfloat16>(stream, p);
  else if (stream.allows_tf32)
    multiply<Arithmetic::tf32>(stream, p);
  else
    return false;
  return true;
}

}  // namespace MINIDL_TARGET
