// Softmax, its logarithm and logsumexp along rows, forward and backward.
#include "kernels.h"
#include "log_sum.cuh"

namespace MINIDL_TARGET {

namespace {

// An operation has a statistic of each row and says what it writes, given that. `reduces`: the statistic is made from
// the row, and from the statistics of pieces of the row; `writes_rows`: the output is as large as the input.

template <typename T>
struct OfLogSum {
  static constexpr int inputs = 1;
  static constexpr bool reduces = true, writes_rows = true;
  using Statistic = LogSum<T>;
  using Merge = MergeLogSums;
  static __device__ Statistic nothing() { return LogSum<T>::nothing(); }
  template <typename Row>
  __device__ Statistic statistic(const Row& row, int64_t) const {
    return log_sum(row);
  }
};

// out[i, :] = e^(x[i, :] - max) / sum
template <typename T>
struct Softmax : OfLogSum<T> {
  template <typename Row>
  __device__ void write(const Row& row, int64_t, LogSum<T> of, T* out) const {
    const T scale = 1 / of.sum_of_differences();
    row.write(out, [=](int64_t, T x) { return exp(x - of.max) * scale; });
  }
};

// out[i, :] = x[i, :] - max - ln(sum)
template <typename T>
struct LogSoftmax : OfLogSum<T> {
  template <typename Row>
  __device__ void write(const Row& row, int64_t, LogSum<T> of, T* out) const {
    const T log_sum = log(of.sum_of_differences());
    row.write(out, [=](int64_t, T x) { return x - of.max - log_sum; });
  }
};

// out[i] = ln(sum) + max
template <typename T>
struct LogSumExp : OfLogSum<T> {
  static constexpr bool writes_rows = false;
  template <typename Row>
  __device__ void write(const Row& row, int64_t i, LogSum<T> of, T* out) const {
    if (row.lane == 0) out[i] = log(of.sum) + of.shift();
  }
};

template <typename T>
struct OfSum {
  static constexpr int inputs = 2;
  static constexpr bool reduces = true, writes_rows = true;
  using Statistic = T;
  using Merge = Sum;
  static __device__ T nothing() { return 0; }
};

// grad_x[i, :] = out[i, :] * (grad_out[i, :] - sum(grad_out[i, :] * out[i, :]))
template <typename T>
struct SoftmaxGradient : OfSum<T> {
  template <typename Row>
  __device__ T statistic(const Row& row, int64_t) const {
    return row.sum([](int64_t, T out, T grad_out) { return grad_out * out; });
  }
  template <typename Row>
  __device__ void write(const Row& row, int64_t, T sum, T* grad_x) const {
    row.write(grad_x, [=](int64_t, T out, T grad_out) { return out * (grad_out - sum); });
  }
};

// grad_x[i, :] = grad_out[i, :] - e^out[i, :] * sum(grad_out[i, :])
template <typename T>
struct LogSoftmaxGradient : OfSum<T> {
  template <typename Row>
  __device__ T statistic(const Row& row, int64_t) const {
    return row.sum([](int64_t, T, T grad_out) { return grad_out; });
  }
  template <typename Row>
  __device__ void write(const Row& row, int64_t, T sum, T* grad_x) const {
    row.write(grad_x, [=](int64_t, T out, T grad_out) { return grad_out - exp(out) * sum; });
  }
};

// grad_x[i, :] = grad_out[i] * e^(x[i, :] - out[i])
template <typename T>
struct LogSumExpGradient {
  static constexpr int inputs = 1;
  static constexpr bool reduces = false, writes_rows = true;
  struct Statistic {
    T shift, grad;
  };
  const T *out, *grad_out;
  template <typename Row>
  __device__ Statistic statistic(const Row&, int64_t i) const {
    return {LogSum<T>::finite_or_zero(out[i]), grad_out[i]};
  }
  template <typename Row>
  __device__ void write(const Row& row, int64_t, Statistic of, T* grad_x) const {
    row.write(grad_x, [=](int64_t, T x) { return of.grad * exp(x - of.shift); });
  }
};

// ---- kernels

template <typename T, int inputs>
struct Inputs {
  const T* arrays[inputs];
};

// 128 threads: a batch of 128 rows of 256 columns has 32 blocks. The 1 in the launch bounds keeps ptxas from spilling a
// register to fit one block more.
template <typename Shape>
constexpr int row_kernel_threads = Shape::lanes > 128 ? Shape::lanes : 128;

template <typename T, typename Shape, typename Operation>
__global__ void __launch_bounds__(row_kernel_threads<Shape>, 1)
    row_kernel(Operation operation, Inputs<T, Operation::inputs> inputs, T* out, int64_t rows, int64_t columns) {
  follow_earlier_kernels();
  const int64_t wanted = (blockIdx.x * (int64_t)row_kernel_threads<Shape> + threadIdx.x) / Shape::lanes;
  const bool exists = wanted < rows;
  const int64_t i = exists ? wanted : 0;
  Row<T, Shape, Operation::inputs> row(inputs.arrays, i * columns, exists ? columns : 0);
  const auto statistic = operation.statistic(row, i);
  if (exists) operation.write(row, i, statistic, out);
}

// Piece blockIdx.y of row blockIdx.x.
template <typename T, typename Shape, int inputs>
__device__ Row<T, Shape, inputs> piece_of_row(const T* const (&arrays)[inputs], int64_t columns, int64_t piece) {
  const int64_t begin = blockIdx.y * piece, left = columns - begin;
  return {arrays, blockIdx.x * columns + begin, left < piece ? left : piece};
}

// parts[row, piece] = the statistic of that piece
template <typename T, typename Shape, typename Operation>
__global__ void __launch_bounds__(Shape::lanes, 1)
    piece_kernel(Operation operation, Inputs<T, Operation::inputs> inputs, int64_t columns, int64_t piece,
                 typename Operation::Statistic* parts) {
  follow_earlier_kernels();
  const auto row = piece_of_row<T, Shape>(inputs.arrays, columns, piece);
  const auto statistic = operation.statistic(row, blockIdx.x);
  if (threadIdx.x == 0) parts[blockIdx.x * (int64_t)gridDim.y + blockIdx.y] = statistic;
}

// Merges the parts of a row and writes a piece of it.
template <typename T, typename Shape, typename Operation>
__global__ void __launch_bounds__(Shape::lanes, 1)
    write_kernel(Operation operation, Inputs<T, Operation::inputs> inputs, T* out, int64_t columns, int64_t piece,
                 const typename Operation::Statistic* parts, unsigned count) {
  follow_earlier_kernels();
  const auto row = piece_of_row<T, Shape>(inputs.arrays, columns, piece);
  if constexpr (Operation::reduces) {
    auto statistic = Operation::nothing();
    if (threadIdx.x < count) statistic = parts[blockIdx.x * (int64_t)count + threadIdx.x];
    operation.write(row, blockIdx.x, group_reduce<Shape::lanes>(statistic, typename Operation::Merge{}), out);
  } else {
    operation.write(row, blockIdx.x, operation.statistic(row, blockIdx.x), out);
  }
}

// ---- launchers

// Few long rows: each shared by several blocks, in two launches.
template <typename T, typename Shape, typename Operation>
void launch_in_pieces(Stream stream, Operation operation, Inputs<T, Operation::inputs> inputs, T* out, int64_t rows,
                      int64_t columns) {
  constexpr int64_t batch = Shape::stride * Shape::packs;
  // Two blocks for each multiprocessor fill it; reasoned, not measured.
  int64_t count = divide_up(2 * multiprocessors, rows);
  const int64_t piece = divide_up(divide_up(columns, batch), count) * batch;
  count = divide_up(columns, piece);
  static_assert(2 * multiprocessors <= Shape::lanes);  // one part for each thread of write_kernel
  auto* parts = static_cast<typename Operation::Statistic*>(stream.scratch);
  if constexpr (Operation::reduces)
    launch(stream, dim3(rows, count), Shape::lanes, piece_kernel<T, Shape, Operation>, operation, inputs, columns,
           piece, parts);
  launch(stream, dim3(rows, Operation::writes_rows ? count : 1), Shape::lanes, write_kernel<T, Shape, Operation>,
         operation, inputs, out, columns, piece, parts, (unsigned)count);
}

template <typename T, typename Operation, typename... Arrays>
void launch_rows(Stream stream, Operation operation, T* out, int64_t rows, int64_t columns, Arrays... arrays) {
  const Inputs<T, Operation::inputs> inputs{{arrays...}};
  if (rows == 0) return;
  const bool are_aligned =
      is_aligned(pack_bytes, arrays...) && (!Operation::writes_rows || is_aligned(pack_bytes, out));
  with_row_shape<T>(columns, are_aligned, [&](auto shape) {
    using Shape = decltype(shape);
    if constexpr (!Shape::is_held)
      if (rows < multiprocessors) return launch_in_pieces<T, Shape>(stream, operation, inputs, out, rows, columns);
    constexpr int threads = row_kernel_threads<Shape>;
    launch(stream, divide_up(rows, threads / Shape::lanes), threads, row_kernel<T, Shape, Operation>, operation, inputs,
           out, rows, columns);
  });
}

template <typename T>
void softmax_forward(Stream stream, const T* x, T* out, int64_t rows, int64_t columns) {
  launch_rows(stream, Softmax<T>{}, out, rows, columns, x);
}

template <typename T>
void softmax_backward(Stream stream, const T* out, const T* grad_out, T* grad_x, int64_t rows, int64_t columns) {
  launch_rows(stream, SoftmaxGradient<T>{}, grad_x, rows, columns, out, grad_out);
}

template <typename T>
void log_softmax_forward(Stream stream, const T* x, T* out, int64_t rows, int64_t columns) {
  launch_rows(stream, LogSoftmax<T>{}, out, rows, columns, x);
}

template <typename T>
void log_softmax_backward(Stream stream, const T* out, const T* grad_out, T* grad_x, int64_t rows, int64_t columns) {
  launch_rows(stream, LogSoftmaxGradient<T>{}, grad_x, rows, columns, out, grad_out);
}

template <typename T>
void logsumexp_forward(Stream stream, const T* x, T* out, int64_t rows, int64_t columns) {
  launch_rows(stream, LogSumExp<T>{}, out, rows, columns, x);
}

template <typename T>
void logsumexp_backward(Stream stream, const T* x, const T* out, const T* grad_out, T* grad_x, int64_t rows,
                        int64_t columns) {
  launch_rows(stream, LogSumExpGradient<T>{out, grad_out}, grad_x, rows, columns, x);
}

}  // namespace
EXPORT(softmax_forward)
EXPORT(softmax_backward)
EXPORT(log_softmax_forward)
EXPORT(log_softmax_backward)
EXPORT(logsumexp_forward)
EXPORT(logsumexp_backward)

}  // namespace MINIDL_TARGET
