// The order in which blocks take the tiles of a product.
#pragma once
#include "product.cuh"

namespace MINIDL_TARGET {
namespace {

// Tiles of 8 rows of tiles follow each other: what runs at one time shares its lines of a and b in L2.
constexpr unsigned raster_rows = 8;

__device__ inline unsigned smaller(unsigned a, unsigned b) { return a < b ? a : b; }

struct TilePlace {
  unsigned m, n;
};
__device__ inline TilePlace tile_place(unsigned tile, unsigned tiles_m, unsigned tiles_n) {
  unsigned band = tile / (raster_rows * tiles_n), within = tile % (raster_rows * tiles_n);
  unsigned rows = smaller(raster_rows, tiles_m - band * raster_rows);
  return {band * raster_rows + within % rows, within / rows};
}

}  // namespace
}  // namespace MINIDL_TARGET
