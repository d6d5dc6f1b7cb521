// Arithmetic and functions element by element, broadcasting through element strides, and copies of all kinds.
#include "elementwise.h"

#include "kernels.h"
#include "parallel.h"
#include "simd.h"
#include "simd_math.h"

namespace MINIDL_TARGET {
namespace {

#define UNARY(name, grain, expression)                                     \
  template <typename T>                                                    \
  void name(Stream stream, const T* x, T* out, int64_t size) {             \
    map(stream, size, grain, out, [](Vec<T> v) { return expression; }, x); \
  }
UNARY(negative_forward, cheap_grain, -v)
UNARY(absolute_forward, cheap_grain, abs(v))
UNARY(square_forward, cheap_grain, v* v)
UNARY(reciprocal_forward, cheap_grain, Vec<T>((T)1) / v)
UNARY(sqrt_forward, cheap_grain, sqrt(v))
UNARY(rsqrt_forward, cheap_grain, Vec<T>((T)1) / sqrt(v))
UNARY(exp_forward, function_grain, exp(v))
UNARY(expm1_forward, function_grain, expm1(v))
UNARY(log_forward, function_grain, log(v))
UNARY(log1p_forward, function_grain, log1p(v))
UNARY(erf_forward, function_grain, erf(v))
#undef UNARY

template <typename T>
void affine_forward(Stream stream, const T* x, T* out, int64_t size, double scale, double shift) {
  Vec<T> factor((T)scale), summand((T)shift);
  map(stream, size, cheap_grain, out, [=](Vec<T> v) { return fma(v, factor, summand); }, x);
}

template <typename T>
void clamp_forward(Stream stream, const T* x, T* out, int64_t size, double low, double high) {
  Vec<T> lower((T)low), upper((T)high);
  map(stream, size, cheap_grain, out, [=](Vec<T> v) { return min(upper, max(lower, v)); }, x);
}

template <typename T>
void add_scaled(Stream stream, const T* x, T* out, int64_t size, double scale) {
  Vec<T> factor((T)scale);
  map(stream, size, cheap_grain, out, [=](Vec<T> v, Vec<T> sum) { return fma(v, factor, sum); }, x, (const T*)out);
}

template <typename T>
void fill(Stream stream, T* out, int64_t size, double value) {
  Vec<T> constant((T)value);
  map(stream, size, cheap_grain, out, [=] { return constant; });
}

#define BINARY(name, grain, expression)                                                             \
  template <typename T>                                                                             \
  void name(Stream stream, const T* a, const T* b, T* out, Strided<2> layout) {                     \
    map_broadcast(stream, grain, layout, a, b, out, [](Vec<T> x, Vec<T> y) { return expression; }); \
  }
BINARY(add_forward, cheap_grain, x + y)
BINARY(subtract_forward, cheap_grain, x - y)
BINARY(multiply_forward, cheap_grain, x* y)
BINARY(divide_forward, cheap_grain, x / y)
BINARY(power_forward, function_grain, pow(x, y))
// max and min return their second operand for nan: x is nan on its own, y through the operand order.
BINARY(maximum_forward, cheap_grain, select(x == x, max(x, y), x))
BINARY(minimum_forward, cheap_grain, select(x == x, min(x, y), x))
#undef BINARY

template <typename T>
void where_forward(Stream stream, const uint8_t* condition, const T* a, const T* b, T* out, Strided<3> layout) {
  for_rows(stream, cheap_grain, layout, [=](int64_t row, int64_t begin, int64_t end, const int64_t (&first)[3]) {
    const int64_t (&strides)[3][max_dims] = layout.strides;
    int last = layout.dims - 1;
    const uint8_t* test = condition + first[0];
    const T *x = a + first[1], *y = b + first[2];
    int64_t step0 = last < 0 ? 0 : strides[0][last], step1 = last < 0 ? 0 : strides[1][last],
            step2 = last < 0 ? 0 : strides[2][last];
    for (int64_t i = begin; i < end; ++i) out[row + i] = test[i * step0] ? x[i * step1] : y[i * step2];
  });
}

template <typename T>
void copy_strided(Stream stream, const T* x, T* out, Strided<1> layout) {
  for_rows(stream, cheap_grain, layout, [=](int64_t row, int64_t begin, int64_t end, const int64_t (&first)[1]) {
    const T* from = x + first[0];
    int64_t step = layout.dims == 0 ? 0 : layout.strides[0][layout.dims - 1];
    if (step == 1)
      memcpy(out + row + begin, from + begin, (end - begin) * sizeof(T));
    else
      for (int64_t i = begin; i < end; ++i) out[row + i] = from[i * step];
  });
}

// Blocks of 32 x 32 elements: a block's lines of both matrices fit the first-level cache.
template <typename T>
void transpose(Stream stream, const T* x, T* out, int64_t batch, int64_t rows, int64_t columns) {
  constexpr int64_t block = 32;
  int64_t row_blocks = (rows + block - 1) / block;
  parallel_for(
      stream, batch * row_blocks, cheap_grain / (block * (columns > 0 ? columns : 1)) + 1,
      [=](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          const T* from = x + task / row_blocks * rows * columns;
          T* to = out + task / row_blocks * rows * columns;
          int64_t row_begin = task % row_blocks * block, row_end = row_begin + block < rows ? row_begin + block : rows;
          for (int64_t column = 0; column < columns; column += block) {
            int64_t column_end = column + block < columns ? column + block : columns;
            for (int64_t j = column; j < column_end; ++j)
              for (int64_t i = row_begin; i < row_end; ++i) to[j * rows + i] = from[i * columns + j];
          }
        }
      },
      1);
}

// write(to, from) for every row of out; rows that the index does not have become nan.
template <typename T, typename Source, typename Write>
inline void gather(Stream stream, const Source* x, const int64_t* index, T* out, int64_t rows, int64_t source_rows,
                   int64_t columns, Write write) {
  parallel_for(
      stream, rows, cheap_grain / (columns > 0 ? columns : 1) + 1,
      [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          T* to = out + i * columns;
          if (index[i] >= 0 && index[i] < source_rows)
            write(to, x + index[i] * columns);
          else
            for (int64_t j = 0; j < columns; ++j) to[j] = (T)__builtin_nan("");
        }
      },
      1);
}

template <typename T>
void gather_rows(Stream stream, const T* x, const int64_t* index, T* out, int64_t rows, int64_t source_rows,
                 int64_t columns) {
  gather(stream, x, index, out, rows, source_rows, columns,
         [=](T* to, const T* from) { memcpy(to, from, columns * sizeof(T)); });
}

template <typename T>
void gather_rows_uint8(Stream stream, const uint8_t* x, const int64_t* index, T* out, int64_t rows, int64_t source_rows,
                       int64_t columns, double scale, double shift) {
  // Every byte has one of 256 values: a table costs less than converting, and rounds every element alike.
  T values[256];
  for (int i = 0; i < 256; ++i) values[i] = (T)(scale * i + shift);
  const T* table = values;
  gather(stream, x, index, out, rows, source_rows, columns, [=](T* to, const uint8_t* from) {
    for (int64_t j = 0; j < columns; ++j) to[j] = table[from[j]];
  });
}

template <typename>
void gather_labels(Stream stream, const int64_t* x, const int64_t* index, int64_t* out, int64_t size,
                   int64_t source_size) {
  parallel_for(stream, size, 16384, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = index[i] >= 0 && index[i] < source_size ? x[index[i]] : -1;
  });
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

}  // namespace MINIDL_TARGET
