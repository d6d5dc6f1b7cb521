// What follows an optimizer's step: the soft threshold of an L1 penalty, and the largest norm of a weight's rows.
#include <float.h>

#include "kernels.h"
#include "launch.cuh"
#include "reduce.cuh"
#include "segments.cuh"

namespace MINIDL_TARGET {

namespace {

// ---- soft threshold

template <int width, typename T>
__global__ void __launch_bounds__(segment_threads)
    soft_threshold_kernel(const __grid_constant__ SegmentBatch<T> batch, const double* schedule, double l1_decay) {
  follow_earlier_kernels();
  const T threshold = T(schedule[0] * l1_decay);
  const auto part = batch.part_of(blockIdx.x);
  for_packs<width>(part, [&]<int count>(std::integral_constant<int, count>, int64_t i) {
    auto pack = load_pack<count>(part.segment->param + i, count);
#pragma unroll
    for (int j = 0; j < count; ++j) {
      const T w = pack.at[j];
      pack.at[j] = w - (w < -threshold ? -threshold : w > threshold ? threshold : w);
    }
    store_pack(part.segment->param + i, pack, count);
  });
}

// As many blocks as scale_gradients has: the same traffic.
constexpr int64_t threshold_blocks_wanted = 8 * multiprocessors;

template <typename T>
void soft_threshold(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double l1_decay) {
  for_segment_batches(
      segments, count, threshold_blocks_wanted, [&](const SegmentBatch<T>& batch, int blocks, bool, auto width) {
        launch(stream, blocks, segment_threads, soft_threshold_kernel<width(), T>, batch, schedule, l1_decay);
      });
}

// ---- largest norm of a row

constexpr int max_matrices = 64;

template <typename T>
struct MatrixBatch {
  Matrix<T> matrices[max_matrices];
  int64_t first_row[max_matrices + 1];
  int count;
};

// A warp for each row, which it reads twice: the second time from the cache, where rows are of a usual length.
template <int width, typename T>
__global__ void __launch_bounds__(segment_threads)
    limit_row_norms_kernel(const __grid_constant__ MatrixBatch<T> batch, double max_norm) {
  follow_earlier_kernels();
  const int64_t place = blockIdx.x * (int64_t)(segment_threads / warp_threads) + threadIdx.x / warp_threads;
  if (place >= batch.first_row[batch.count]) return;
  int m = 0;
  while (batch.first_row[m + 1] <= place) ++m;
  const int64_t columns = batch.matrices[m].columns;
  T* row = batch.matrices[m].weight + (place - batch.first_row[m]) * columns;
  const int lane = threadIdx.x % warp_threads;

  double lanes[width] = {}, sum = 0;
#pragma unroll 4
  for (int64_t i = lane * width; i < columns; i += warp_threads * width) {
    const auto pack = load_pack<width>(row + i, width);
#pragma unroll
    for (int j = 0; j < width; ++j) lanes[j] += (double)pack.at[j] * (double)pack.at[j];
  }
#pragma unroll
  for (int j = 0; j < width; ++j) sum += lanes[j];
  const double norm = sqrt(warp_reduce(sum, Sum()));
  if (!(norm > max_norm) || norm > DBL_MAX) return;
  // The factor and each product round up by half an epsilon at most: 1.5 epsilons less, and no norm is beyond.
  constexpr double epsilon = sizeof(T) == 4 ? FLT_EPSILON : DBL_EPSILON;
  const T scale = T(max_norm / norm * (1 - 1.5 * epsilon));
#pragma unroll 4
  for (int64_t i = lane * width; i < columns; i += warp_threads * width) {
    auto pack = load_pack<width>(row + i, width);
#pragma unroll
    for (int j = 0; j < width; ++j) pack.at[j] *= scale;
    store_pack(row + i, pack, width);
  }
}

template <typename T>
void limit_row_norms(Stream stream, const Matrix<T>* matrices, int64_t count, double max_norm) {
  for (int64_t done = 0; done < count; done += max_matrices) {
    MatrixBatch<T> batch{};
    bool has_packs = true;
    batch.count = (int)(count - done < max_matrices ? count - done : max_matrices);
    for (int m = 0; m < batch.count; ++m) {
      const Matrix<T>& matrix = batch.matrices[m] = matrices[done + m];
      has_packs = has_packs && is_aligned(pack_bytes, matrix.weight) && matrix.columns % pack_width<T> == 0;
      batch.first_row[m + 1] = batch.first_row[m] + (matrix.columns > 0 ? matrix.rows : 0);
    }
    const int64_t blocks = divide_up(batch.first_row[batch.count], segment_threads / warp_threads);
    if (has_packs)
      launch(stream, blocks, segment_threads, limit_row_norms_kernel<pack_width<T>, T>, batch, max_norm);
    else
      launch(stream, blocks, segment_threads, limit_row_norms_kernel<1, T>, batch, max_norm);
  }
}

}  // namespace
EXPORT(soft_threshold)
EXPORT(limit_row_norms)

}  // namespace MINIDL_TARGET
