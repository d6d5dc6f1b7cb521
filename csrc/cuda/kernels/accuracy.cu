// How many rows of logits are classified right, and a log of such counts and losses.
#include "kernels.h"
#include "rows.cuh"

namespace MINIDL_TARGET {

namespace {

// Every logit before the label must be smaller, every one after it at most equal; nan, which wins, is neither.
template <typename T>
struct Rivals {
  T own;
  int64_t label;
  __device__ bool loses(int64_t c, T logit) const {
    const bool is_nan = own != own;
    if (c < label) return is_nan ? logit == logit : logit < own;
    return c == label || is_nan || logit <= own;
  }
};

struct And {
  __device__ int operator()(int a, int b) const { return a & b; }
};

template <typename Shape>
constexpr int count_threads = Shape::lanes > 32  ? Shape::lanes
                              : Shape::lanes > 8 ? 256
                                                 : 512;

// out[0] = number of rows whose first largest logit, or first nan, stands at the label; logits is rows x classes
template <typename T, typename Shape>
__global__ void __launch_bounds__(count_threads<Shape>, 1)
    count_correct_kernel(const T* logits, const int64_t* labels, int64_t* out, int64_t rows, int64_t classes,
                         int64_t* parts, unsigned* arrivals) {
  follow_earlier_kernels();
  constexpr int threads = count_threads<Shape>, rows_of_block = threads / Shape::lanes;
  const T* const arrays[] = {logits};
  int64_t count = 0;
  for (int64_t first = blockIdx.x * (int64_t)rows_of_block; first < rows; first += gridDim.x * (int64_t)rows_of_block) {
    const int64_t wanted = first + threadIdx.x / Shape::lanes, i = wanted < rows ? wanted : 0;
    const Row<T, Shape> row(arrays, i * classes, wanted < rows ? classes : 0);
    const int64_t label = labels[i];
    const bool is_valid = wanted < rows && label >= 0 && label < classes;
    const Rivals<T> rivals{is_valid ? logits[i * classes + label] : T(0), label};
    int is_first = is_valid;
    row.each([&](const auto& batch) {
#pragma unroll
      for (int k = 0; k < batch.items; ++k)
        if (k < batch.valid_items()) is_first &= rivals.loses(batch.column_of(k), batch.item(k));
    });
    is_first = group_reduce<Shape::lanes>(is_first, And{});
    if (row.lane == 0) count += is_first;
  }
  count = group_reduce<threads>(count, Sum{});
  if (grid_sum<threads>(count, parts, arrivals) && threadIdx.x == 0) out[0] = count;
}

template <typename T>
void count_correct(Stream stream, const T* logits, const int64_t* labels, int64_t* out, int64_t rows, int64_t classes) {
  with_row_shape<T>(classes, is_aligned(pack_bytes, logits), [&](auto shape) {
    using Shape = decltype(shape);
    constexpr int threads = count_threads<Shape>;
    int64_t blocks = divide_up(rows, threads / Shape::lanes);
    if (blocks > max_summing_blocks) blocks = max_summing_blocks;
    if (blocks == 0) blocks = 1;  // to write the count of no rows
    launch(stream, blocks, threads, count_correct_kernel<T, Shape>, logits, labels, out, rows, classes,
           static_cast<int64_t*>(stream.scratch), stream.arrivals);
  });
}

// r = log[0] mod rows; log[1 + 2 r] = loss[0], log[2 + 2 r] = correct[0], -1 where that is null; log[0] += 1
template <typename T>
__global__ void append_result_kernel(const T* loss, const int64_t* correct, double* log, int64_t rows) {
  follow_earlier_kernels();
  double* const row = log + 1 + (int64_t)log[0] % rows * 2;
  row[0] = loss[0];
  row[1] = correct ? (double)correct[0] : -1;
  log[0] += 1;
}

template <typename T>
void append_result(Stream stream, const T* loss, const int64_t* correct, double* log, int64_t rows) {
  launch(stream, 1, 1, append_result_kernel<T>, loss, correct, log, rows);
}

}  // namespace
EXPORT(count_correct)
EXPORT(append_result)

}  // namespace MINIDL_TARGET
