// Numbers as the arguments of a kernel: a copy from the host's memory would wait for the stream.
#include "write.h"

#include <string.h>
#include <ptx.cuh>

#include "launch.cuh"

namespace minidl {
namespace {

constexpr int values_per_launch = 64;

struct Values {
  double at[values_per_launch];
};

// out = values
__global__ void write_kernel(const __grid_constant__ Values values, double* out, int count) {
  MINIDL_TARGET::follow_earlier_kernels();
  if ((int)threadIdx.x < count) out[threadIdx.x] = values.at[threadIdx.x];
}

}  // namespace

void write_values(Stream stream, const double* values, double* out, int64_t count) {
  for (int64_t first = 0; first < count; first += values_per_launch) {
    const int part = (int)(count - first < values_per_launch ? count - first : values_per_launch);
    Values packed = {};
    memcpy(packed.at, values + first, part * sizeof(double));
    launch(stream, 1, values_per_launch, write_kernel, packed, out + first, part);
  }
}

}  // namespace minidl
