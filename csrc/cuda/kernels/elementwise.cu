// Arithmetic and functions element by element, broadcasting through element strides, and copies of all kinds.
#include "elementwise.cuh"

#include <math.h>

#include "kernels.h"

namespace MINIDL_TARGET {
namespace {

#define UNARY(name, expression)                                          \
  struct name##_of {                                                     \
    template <typename T>                                                \
    __device__ T operator()(T x) const {                                 \
      return expression;                                                 \
    }                                                                    \
  };                                                                     \
  template <typename T>                                                  \
  void name##_forward(Stream stream, const T* x, T* out, int64_t size) { \
    map(stream, size, out, name##_of{}, x);                              \
  }
UNARY(negative, -x)
UNARY(absolute, fabs(x))
UNARY(square, x* x)
UNARY(reciprocal, T(1) / x)
UNARY(sqrt, ::sqrt(x))
UNARY(rsqrt, ::rsqrt(x))
UNARY(exp, ::exp(x))
UNARY(expm1, ::expm1(x))
UNARY(log, ::log(x))
UNARY(log1p, ::log1p(x))
UNARY(erf, ::erf(x))
#undef UNARY

template <typename T>
struct Affine {
  T scale, shift;
  __device__ T operator()(T x) const { return scale * x + shift; }
};
template <typename T>
void affine_forward(Stream stream, const T* x, T* out, int64_t size, double scale, double shift) {
  map(stream, size, out, Affine<T>{(T)scale, (T)shift}, x);
}

template <typename T>
struct AddScaled {
  T scale;
  __device__ T operator()(T x, T sum) const { return scale * x + sum; }
};
template <typename T>
void add_scaled(Stream stream, const T* x, T* out, int64_t size, double scale) {
  map(stream, size, out, AddScaled<T>{(T)scale}, x, (const T*)out);
}

// A nan is neither below nor above.
template <typename T>
struct Clamp {
  T min, max;
  __device__ T operator()(T x) const {
    const T raised = x < min ? min : x;
    return raised > max ? max : raised;
  }
};
template <typename T>
void clamp_forward(Stream stream, const T* x, T* out, int64_t size, double min, double max) {
  map(stream, size, out, Clamp<T>{(T)min, (T)max}, x);
}

template <typename T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};
template <typename T>
void fill(Stream stream, T* out, int64_t size, double value) {
  map(stream, size, out, Constant<T>{(T)value});
}

#define BINARY(name, expression)                                                          \
  struct name##_of {                                                                      \
    template <typename T>                                                                 \
    __device__ T operator()(T a, T b) const {                                             \
      return expression;                                                                  \
    }                                                                                     \
  };                                                                                      \
  template <typename T>                                                                   \
  void name##_forward(Stream stream, const T* a, const T* b, T* out, Strided<2> layout) { \
    map_broadcast(stream, layout, out, name##_of{}, a, b);                                \
  }
BINARY(add, a + b)
BINARY(subtract, a - b)
BINARY(multiply, a* b)
BINARY(divide, a / b)
BINARY(power, ::pow(a, b))
// A nan compares false: a is chosen where it is one itself, b where it is not.
BINARY(maximum, a > b || a != a ? a : b)
BINARY(minimum, a < b || a != a ? a : b)
#undef BINARY

struct Where {
  template <typename T>
  __device__ T operator()(T condition, T yes, T no) const {
    return condition != T(0) ? yes : no;
  }
};
template <typename T>
void where_forward(Stream stream, const uint8_t* condition, const T* a, const T* b, T* out, Strided<3> layout) {
  map_broadcast(stream, layout, out, Where{}, condition, a, b);
}

// ---- copies

struct Same {
  template <typename T>
  __device__ T operator()(T x) const {
    return x;
  }
};

// 32 x 32 elements, so that both sides are read and written by whole lines of 128 bytes (float); a row more than 32
// elements long keeps a column's elements in different banks.
constexpr int tile = 32, tile_threads = 8;

// out[b, j, i] = x[matrices(b) + i * stride + j] for i < rows, j < columns
template <typename T>
__global__ void __launch_bounds__(tile* tile_threads)
    transpose_kernel(const T* x, T* out, int64_t rows, int64_t columns, int64_t stride, uint32_t row_tiles,
                     uint32_t column_tiles, const PackLayout<1> matrices) {
  follow_earlier_kernels();
  SHARED(T, values, [tile][tile + 1]);
  const uint32_t b = blockIdx.x / (row_tiles * column_tiles), place = blockIdx.x % (row_tiles * column_tiles);
  const int64_t first_row = int64_t(place / column_tiles) * tile, first_column = int64_t(place % column_tiles) * tile;
  int64_t offset[1];
  matrices.locate(b, offset);
#pragma unroll
  for (int k = threadIdx.y; k < tile; k += tile_threads) {
    const int64_t i = first_row + k, j = first_column + threadIdx.x;
    if (i < rows && j < columns) values[k][threadIdx.x] = x[offset[0] + i * stride + j];
  }
  __syncthreads();
#pragma unroll
  for (int k = threadIdx.y; k < tile; k += tile_threads) {
    const int64_t i = first_row + threadIdx.x, j = first_column + k;
    if (i < rows && j < columns) out[(b * columns + j) * rows + i] = values[threadIdx.x][k];
  }
}

// out = x for a layout of transposed matrices: the last dimension but one is contiguous in x.
template <typename T>
void transpose_matrices(Stream stream, const T* x, T* out, const Strided<1>& layout) {
  const int last = layout.dims - 1;
  const int64_t rows = layout.shape[last], columns = layout.shape[last - 1];
  Strided<1> matrices = layout;
  matrices.dims = last - 1;
  if (matrices.dims == 0) matrices = {1, {1}, {}};
  int64_t batch = 1;
  for (int d = 0; d < matrices.dims; ++d) batch *= matrices.shape[d];
  if (batch == 0) return;
  const int64_t row_tiles = divide_up(rows, tile), column_tiles = divide_up(columns, tile);
  launch(stream, batch * row_tiles * column_tiles, dim3(tile, tile_threads), transpose_kernel<T>, x, out, rows, columns,
         layout.strides[0][last], row_tiles, column_tiles, PackLayout<1>(matrices, 1));
}

template <typename T>
void copy_strided(Stream stream, const T* x, T* out, Strided<1> layout) {
  const int last = layout.dims - 1;
  // Narrow matrices leave most of a tile's threads idle.
  constexpr int64_t narrowest = 8;
  const bool is_transposed = last >= 1 && layout.strides[0][last - 1] == 1 && layout.strides[0][last] > 1 &&
                             layout.shape[last] >= narrowest && layout.shape[last - 1] >= narrowest;
  if (is_transposed)
    transpose_matrices(stream, x, out, layout);
  else
    map_broadcast(stream, layout, out, Same{}, x);
}

template <typename T>
void transpose(Stream stream, const T* x, T* out, int64_t batch, int64_t rows, int64_t columns) {
  copy_strided(stream, x, out, {3, {batch, columns, rows}, {{rows * columns, 1, columns}}});
}

// ---- gathering

// out[row, :] = f(x[index[row], :]) for some columns of rows that are stride elements apart
template <int width, typename T, typename Source, typename F>
__global__ void __launch_bounds__(map_threads)
    gather_kernel(const Source* x, const int64_t* index, T* out, uint32_t packs, int64_t source_rows, int64_t stride,
                  const Divider packs_per_row, F f) {
  follow_earlier_kernels();
#pragma unroll
  for (int k = 0; k < packs_per_thread<width>; ++k) {
    const uint32_t pack = (blockIdx.x * packs_per_thread<width> + k) * map_threads + threadIdx.x;
    if (pack >= packs) return;
    const uint32_t row = packs_per_row.quotient(pack);
    const int64_t column = int64_t(pack - row * packs_per_row.divisor) * width, source = index[row];
    Pack<T, width> gathered;
    if (source >= 0 && source < source_rows) {
      const auto pack_of_x = load_pack<width>(x + source * stride + column, width);
      gathered = map_packs<T>(f, &pack_of_x, std::index_sequence<0>());
    } else {
#pragma unroll
      for (int j = 0; j < width; ++j) gathered.at[j] = (T)NAN;
    }
    store_pack(out + row * stride + column, gathered, width);
  }
}

template <typename T, typename Source, typename F>
void gather(Stream stream, const Source* x, const int64_t* index, T* out, int64_t rows, int64_t source_rows,
            int64_t columns, F f) {
  if (rows == 0 || columns == 0) return;
  constexpr int64_t max_packs = int64_t(1) << 30;  // of one launch
  auto launch_gather = [&](auto width, auto kernel) {
    const int64_t columns_at_once = columns < max_packs ? columns : max_packs;
    const int64_t rows_at_once = max_packs / divide_up(columns_at_once, width());
    for (int64_t column = 0; column < columns; column += columns_at_once)
      for (int64_t row = 0; row < rows; row += rows_at_once) {
        const int64_t some_columns = columns - column < columns_at_once ? columns - column : columns_at_once;
        const int64_t some_rows = rows - row < rows_at_once ? rows - row : rows_at_once;
        const int64_t packs_per_row = some_columns / width(), packs = some_rows * packs_per_row;
        launch(stream, divide_up(packs, map_threads * packs_per_thread<width()>), map_threads, kernel, x + column,
               index + row, out + row * columns + column, packs, source_rows, columns, Divider((uint32_t)packs_per_row),
               f);
      }
  };
  constexpr int width = pack_width<T>;
  if (columns % width == 0 && is_aligned(pack_bytes, out) && is_aligned(width * sizeof(Source), x))
    launch_gather(std::integral_constant<int, width>(), gather_kernel<width, T, Source, F>);
  else
    launch_gather(std::integral_constant<int, 1>(), gather_kernel<1, T, Source, F>);
}

template <typename T>
void gather_rows(Stream stream, const T* x, const int64_t* index, T* out, int64_t rows, int64_t source_rows,
                 int64_t columns) {
  gather(stream, x, index, out, rows, source_rows, columns, Same{});
}

template <typename T>
struct ScaledByte {
  double scale, shift;
  __device__ T operator()(uint8_t byte) const { return (T)(scale * byte + shift); }  // in double: rounded once
};
template <typename T>
void gather_rows_uint8(Stream stream, const uint8_t* x, const int64_t* index, T* out, int64_t rows, int64_t source_rows,
                       int64_t columns, double scale, double shift) {
  gather(stream, x, index, out, rows, source_rows, columns, ScaledByte<T>{scale, shift});
}

__global__ void __launch_bounds__(map_threads)
    gather_labels_kernel(const int64_t* x, const int64_t* index, int64_t* out, int64_t size, int64_t source_size) {
  follow_earlier_kernels();
  const int64_t i = blockIdx.x * (int64_t)map_threads + threadIdx.x;
  if (i < size) out[i] = index[i] >= 0 && index[i] < source_size ? x[index[i]] : -1;
}

template <typename>
void gather_labels(Stream stream, const int64_t* x, const int64_t* index, int64_t* out, int64_t size,
                   int64_t source_size) {
  launch(stream, divide_up(size, map_threads), map_threads, gather_labels_kernel, x, index, out, size, source_size);
}

__global__ void count_up_kernel(int64_t* out) {
  follow_earlier_kernels();
  out[0] += 1;
}

template <typename>
void count_up(Stream stream, int64_t* out) {
  launch(stream, 1, 1, count_up_kernel, out);
}

}  // namespace

EXPORT(negative_forward)
EXPORT(absolute_forward)
EXPORT(square_forward)
EXPORT(reciprocal_forward)
EXPORT(sqrt_forward)
EXPORT(rsqrt_forward)
EXPORT(exp_forward)
EXPORT(expm1_forward)
EXPORT(log_forward)
EXPORT(log1p_forward)
EXPORT(erf_forward)
EXPORT(affine_forward)
EXPORT(clamp_forward)
EXPORT(add_scaled)
EXPORT(fill)
EXPORT(add_forward)
EXPORT(subtract_forward)
EXPORT(multiply_forward)
EXPORT(divide_forward)
EXPORT(power_forward)
EXPORT(maximum_forward)
EXPORT(minimum_forward)
EXPORT(where_forward)
EXPORT(copy_strided)
EXPORT(transpose)
EXPORT(gather_rows)
EXPORT(gather_rows_uint8)
EXPORT(gather_labels)
EXPORT(count_up)

}  // namespace MINIDL_TARGET
