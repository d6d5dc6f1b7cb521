// Dropout: its bits are drawn again from the ticket in backward.
#include "dropout.cuh"

#include "elementwise.cuh"
#include "kernels.h"

namespace MINIDL_TARGET {

namespace {

// out = x * factor; a thread takes width neighbouring Philox blocks, and so 8 packs that lie 16 elements apart.
template <int width, typename T>
__global__ void __launch_bounds__(map_threads)
    dropout_kernel(const T* x, T* out, int64_t size, const DropoutFactors<T> dropout) {
  follow_earlier_kernels();
  constexpr int packs = DropoutFactors<T>::per_block;
  const int64_t block = (blockIdx.x * (int64_t)map_threads + threadIdx.x) * width;
  const int64_t first = first_element<packs>(block);
  if (first >= size) return;
  Pack<T, width> values[packs];
#pragma unroll
  for (int k = 0; k < packs; ++k) {
    const int64_t i = first + k * group_blocks;
    values[k] = load_pack<width>(x + i, size - i);
  }
#pragma unroll
  for (int j = 0; j < width; ++j) {
    T factors[packs];
    dropout.of_block(block + j, factors);
#pragma unroll
    for (int k = 0; k < packs; ++k) values[k].at[j] *= factors[k];
  }
#pragma unroll
  for (int k = 0; k < packs; ++k) {
    const int64_t i = first + k * group_blocks;
    store_pack(out + i, values[k], size - i);
  }
}

template <typename T>
void dropout_forward(Stream stream, const T* x, const int64_t* ticket, T* out, int64_t size, double p) {
  const DropoutFactors<T> dropout(ticket, p);
  const int64_t philox_blocks = blocks_for(size, dropout.per_block);
  constexpr int width = pack_width<T>;
  // Below that a thread per Philox block fills more multiprocessors, which counts for more than wide accesses.
  const bool is_large = philox_blocks / width >= multiprocessors * map_threads;
  if (is_large && is_aligned(pack_bytes, x, out))
    launch(stream, divide_up(philox_blocks / width, map_threads), map_threads, dropout_kernel<width, T>, x, out, size,
           dropout);
  else
    launch(stream, divide_up(philox_blocks, map_threads), map_threads, dropout_kernel<1, T>, x, out, size, dropout);
}

}  // namespace
EXPORT(dropout_forward)

}  // namespace MINIDL_TARGET
