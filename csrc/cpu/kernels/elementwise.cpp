// Arithmetic and functions element by element, broadcasting through element strides, and copies of all kinds.
#include "elementwise.h"

#include "gemm/register_transpose.h"
#include "kernels.h"
#include "parallel.h"
#include "simd.h"
#include "simd_math.h"
#include "simd_pow.h"

namespace MINIDL_TARGET {
namespace {

// e^x. A result that is rounded to 0 takes many processors some 100 cycles, e^0 instead of it none.
template <typename T>
SIMD_INLINE Vec<T> exp_or_zero(Vec<T> x) {
  Mask<T> is_zero = x < Vec<T>(MathConstants<T>::exp_min);
  return select(is_zero, Vec<T>{}, exp(select(is_zero, Vec<T>{}, x)));
}

#define UNARY(name, grain, expression)                                                   \
  template <typename T>                                                                  \
  void name(Stream stream, const T* x, T* out, int64_t size) {                           \
    map(stream, size, grain, out, [](Vec<T> v) ALWAYS_INLINE { return expression; }, x); \
  }
UNARY(negative_forward, cheap_grain, -v)
UNARY(absolute_forward, cheap_grain, abs(v))
UNARY(square_forward, cheap_grain, v* v)
UNARY(reciprocal_forward, cheap_grain, Vec<T>((T)1) / v)
UNARY(sqrt_forward, cheap_grain, sqrt(v))
UNARY(rsqrt_forward, cheap_grain, rsqrt(v))
UNARY(exp_forward, function_grain, exp_or_zero(v))
UNARY(expm1_forward, function_grain, expm1(v))
UNARY(log_forward, function_grain, log(v))
UNARY(log1p_forward, function_grain, log1p(v))
UNARY(erf_forward, function_grain, erf(v))
#undef UNARY

template <typename T>
void affine_forward(Stream stream, const T* x, T* out, int64_t size, double scale, double shift) {
  Vec<T> factor((T)scale), summand((T)shift);
  map(stream, size, cheap_grain, out, [=](Vec<T> v) ALWAYS_INLINE { return fma(v, factor, summand); }, x);
}

template <typename T>
void clamp_forward(Stream stream, const T* x, T* out, int64_t size, double low, double high) {
  Vec<T> lower((T)low), upper((T)high);
  map(stream, size, cheap_grain, out, [=](Vec<T> v) ALWAYS_INLINE { return min(upper, max(lower, v)); }, x);
}

template <typename T>
void add_scaled(Stream stream, const T* x, T* out, int64_t size, double scale) {
  Vec<T> factor((T)scale);
  map(
      stream, size, cheap_grain, out, [=](Vec<T> v, Vec<T> sum) ALWAYS_INLINE { return fma(v, factor, sum); }, x,
      (const T*)out);
}

template <typename T>
void fill(Stream stream, T* out, int64_t size, double value) {
  Vec<T> constant((T)value);
  map(stream, size, cheap_grain, out, [=] { return constant; });
}

#define BINARY(name, grain, expression)                                                                           \
  template <typename T>                                                                                           \
  void name(Stream stream, const T* a, const T* b, T* out, Strided<2> layout) {                                   \
    map_broadcast(stream, grain, layout, a, b, out, [](Vec<T> x, Vec<T> y) ALWAYS_INLINE { return expression; }); \
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

// One byte for each lane of a register.
template <typename T>
struct ByteLanes;
template <>
struct ByteLanes<float> {
  typedef uint8_t Native __attribute__((vector_size(vector_bytes / sizeof(float))));
};
template <>
struct ByteLanes<double> {
  typedef uint8_t Native __attribute__((vector_size(vector_bytes / sizeof(double))));
};

// Which of count bytes are not 0.
template <typename T>
SIMD_INLINE Mask<T> load_truth(const uint8_t* from, int count) {
  typename ByteLanes<T>::Native bytes{};
  if (count == Vec<T>::width)
    memcpy(&bytes, from, sizeof bytes);
  else
    for (int lane = 0; lane < count; ++lane) bytes[lane] = from[lane];
  return Mask<T>{__builtin_convertvector(bytes, typename Mask<T>::Native) != 0};
}

template <Step step_a, Step step_b, bool is_streamed, typename T>
SIMD_INLINE void choose_row(const uint8_t* test, const T* x, const T* y, T* out, int64_t begin, int64_t end) {
  auto body = [=](auto at) {
    at.store(out, select(load_truth<T>(test + at.index, at.count), load_step<step_a>(x, at), load_step<step_b>(y, at)));
  };
  for_vectors(is_streamed, out, begin, end, body);
}

template <Step step, bool is_streamed, typename T>
SIMD_INLINE void copy_row(const T* from, T* out, int64_t begin, int64_t end) {
  auto body = [=](auto at) { at.store(out, load_step<step>(from, at)); };
  for_vectors(is_streamed, out, begin, end, body);
}

template <bool is_streamed, typename T>
SIMD_INLINE void choose(Stream stream, const uint8_t* condition, const T* a, const T* b, T* out, Strided<3> layout) {
  constexpr Step contiguous = Step::contiguous, constant = Step::constant;
  const int last = layout.dims - 1;
  auto stride = [&](int operand) { return last < 0 ? 0 : layout.strides[operand][last]; };
  const int64_t test_stride = stride(0), stride_a = stride(1), stride_b = stride(2);
  const Step step_a = step_of(stride_a), step_b = step_of(stride_b);
  for_rows(stream, cheap_grain, layout, [=](int64_t row, int64_t begin, int64_t end, const int64_t (&first)[3]) {
    const uint8_t* test = condition + first[0];
    const T *x = a + first[1], *y = b + first[2];
    T* to = out + row;
    if (test_stride == 0) {  // the row comes from one operand, and the other is not read
      const Step step = *test ? step_a : step_b;
      const T* from = *test ? x : y;
      if (step == contiguous) return copy_row<contiguous, is_streamed>(from, to, begin, end);
      if (step == constant) return copy_row<constant, is_streamed>(from, to, begin, end);
    }
    if (test_stride == 1 && step_a == contiguous && step_b == contiguous)
      return choose_row<contiguous, contiguous, is_streamed>(test, x, y, to, begin, end);
    if (test_stride == 1 && step_a == contiguous && step_b == constant)
      return choose_row<contiguous, constant, is_streamed>(test, x, y, to, begin, end);
    if (test_stride == 1 && step_a == constant && step_b == contiguous)
      return choose_row<constant, contiguous, is_streamed>(test, x, y, to, begin, end);
    for (int64_t i = begin; i < end; ++i) to[i] = test[i * test_stride] ? x[i * stride_a] : y[i * stride_b];
  });
}

template <typename T>
void where_forward(Stream stream, const uint8_t* condition, const T* a, const T* b, T* out, Strided<3> layout) {
  int64_t size = 1;
  for (int d = 0; d < layout.dims; ++d) size *= layout.shape[d];
  if (size * (int64_t)sizeof(T) >= streamed_bytes && a != out && b != out)
    choose<true>(stream, condition, a, b, out, layout);
  else
    choose<false>(stream, condition, a, b, out, layout);
}

// out[j, i] = x[i, j] for i < rows and j < columns; rows of x and of out are so many elements apart. Squares go past
// the caches if is_streamed, for which they have to begin at whole vectors in out.
template <bool is_streamed, typename T>
void transpose_tiles(const T* x, int64_t x_stride, T* out, int64_t out_stride, int64_t rows, int64_t columns) {
  constexpr int width = Vec<T>::width;
  const int64_t whole_columns = columns / width * width;
  int64_t i = 0;
  for (; i + width <= rows; i += width)
    for (int64_t j = 0; j < whole_columns; j += width) {
      Vec<T> square[width];
      for (int r = 0; r < width; ++r) square[r] = load(x + (i + r) * x_stride + j);
      // The same columns of the next rows, which may be pages away: no prefetcher follows.
      for (int r = 0; is_streamed && r < width; ++r) __builtin_prefetch(x + (i + width + r) * x_stride + j);
      transpose_registers(square);
      for (int r = 0; r < width; ++r) {
        T* to = out + (j + r) * out_stride + i;
        is_streamed ? stream_store(to, square[r]) : store(to, square[r]);
      }
    }
  for (int64_t left = i; left < rows; ++left)
    for (int64_t j = 0; j < whole_columns; ++j) out[j * out_stride + left] = x[left * x_stride + j];
  for (int64_t j = whole_columns; j < columns; ++j)
    for (int64_t row = 0; row < rows; ++row) out[j * out_stride + row] = x[row * x_stride + j];
  if (is_streamed) native_finish_streams();
}

// The same for batch matrices, whose rows lie side by side in out; x_of(b) is where matrix b begins.
template <typename T, typename Source>
SIMD_INLINE void transpose_all(Stream stream, Source x_of, int64_t x_stride, T* out, int64_t batch, int64_t rows,
                               int64_t columns) {
  constexpr int64_t block = 64;  // columns of x, rows of out, that a thread takes at a time
  const int64_t blocks = (columns + block - 1) / block;
  const bool is_streamed = batch * rows * columns * (int64_t)sizeof(T) >= streamed_bytes &&
                           rows * sizeof(T) % vector_bytes == 0 && (uintptr_t)out % vector_bytes == 0;
  const auto transpose_block = is_streamed ? transpose_tiles<true, T> : transpose_tiles<false, T>;
  parallel_for(
      stream, batch * blocks, cheap_grain / (block * (rows > 0 ? rows : 1)) + 1,
      [=](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
          int64_t b = task / blocks, column = task % blocks * block;
          transpose_block(x_of(b) + column, x_stride, out + (b * columns + column) * rows, rows, rows,
                          columns - column < block ? columns - column : block);
        }
      },
      1);
}

template <typename T>
void transpose(Stream stream, const T* x, T* out, int64_t batch, int64_t rows, int64_t columns) {
  transpose_all(stream, [=](int64_t b) { return x + b * rows * columns; }, columns, out, batch, rows, columns);
}

template <typename T>
void copy_strided(Stream stream, const T* x, T* out, Strided<1> layout) {
  const int64_t (&strides)[max_dims] = layout.strides[0];
  const int last = layout.dims - 1;
  // A transposed view: neighbours of x stand below each other in out.
  if (last >= 1 && strides[last - 1] == 1 && strides[last] > 1) {
    int64_t batch = 1;
    for (int d = 0; d < last - 1; ++d) batch *= layout.shape[d];
    auto matrix = [=](int64_t b) {
      const T* from = x;
      for (int d = last - 2; d >= 0; b /= layout.shape[d--]) from += b % layout.shape[d] * layout.strides[0][d];
      return from;
    };
    return transpose_all(stream, matrix, strides[last], out, batch, layout.shape[last], layout.shape[last - 1]);
  }
  if (layout.dims == 1 && strides[0] == 1)
    return map(stream, layout.shape[0], cheap_grain, out, [](Vec<T> v) ALWAYS_INLINE { return v; }, x);
  for_rows(stream, cheap_grain, layout, [=](int64_t row, int64_t begin, int64_t end, const int64_t (&first)[1]) {
    const T* from = x + first[0];
    int64_t step = layout.dims == 0 ? 0 : layout.strides[0][layout.dims - 1];
    T* to = out + row;
    if (step == 1)
      for_vectors<T>(begin, end, [=](auto at) { at.store(to, at(from)); });
    else if (step == 0)
      for_vectors<T>(begin, end, [=](auto at) { at.store(to, Vec<T>(*from)); });
    else
      for (int64_t i = begin; i < end; ++i) to[i] = from[i * step];
  });
}

inline bool is_within(int64_t index, int64_t size) { return index >= 0 && index < size; }

// write(to, from) for every row of out; rows that the index does not have become nan.
template <typename T, typename Source, typename Write>
inline void gather(Stream stream, const Source* x, const int64_t* index, T* out, int64_t rows, int64_t source_rows,
                   int64_t columns, Write write) {
  // Rows lie anywhere: the next ones are fetched while one is written, at least their beginnings.
  constexpr int64_t rows_ahead = 2, max_fetched_bytes = 1024;
  const int64_t row_bytes = columns * (int64_t)sizeof(Source);
  const int64_t fetched_bytes = row_bytes < max_fetched_bytes ? row_bytes : max_fetched_bytes;
  parallel_for(
      stream, rows, cheap_grain / (columns > 0 ? columns : 1) + 1,
      [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          T* to = out + i * columns;
          if (i + rows_ahead < end && is_within(index[i + rows_ahead], source_rows)) {
            const char* soon = (const char*)(x + index[i + rows_ahead] * columns);
            for (int64_t line = 0; line < fetched_bytes; line += 64) __builtin_prefetch(soon + line);
          }
          if (is_within(index[i], source_rows))
            write(to, x + index[i] * columns);
          else
            for (int64_t j = 0; j < columns; ++j) to[j] = (T)__builtin_nan("");
        }
        native_finish_streams();
      },
      1);
}

template <typename T>
void gather_rows(Stream stream, const T* x, const int64_t* index, T* out, int64_t rows, int64_t source_rows,
                 int64_t columns) {
  const bool is_streamed = rows * columns * (int64_t)sizeof(T) >= streamed_bytes;
  gather(stream, x, index, out, rows, source_rows, columns, [=](T* to, const T* from) {
    if (is_streamed)
      for_streamed_vectors(to, 0, columns, [=](auto at) {
        const T* part = from + at.index;
        at.store(to, at.count == Vec<T>::width ? load(part) : load_partial(part, at.count));
      });
    else
      memcpy(to, from, columns * sizeof(T));
  });
}

template <typename T>
void gather_rows_uint8(Stream stream, const uint8_t* x, const int64_t* index, T* out, int64_t rows, int64_t source_rows,
                       int64_t columns, double scale, double shift) {
  gather(stream, x, index, out, rows, source_rows, columns, [=](T* to, const uint8_t* from) {
    for (int64_t j = 0; j < columns; ++j) to[j] = (T)(scale * from[j] + shift);  // in double: rounded once
  });
}

template <typename>
void gather_labels(Stream stream, const int64_t* x, const int64_t* index, int64_t* out, int64_t size,
                   int64_t source_size) {
  parallel_for(stream, size, 16384, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = is_within(index[i], source_size) ? x[index[i]] : -1;
  });
}

template <typename>
void count_up(Stream, int64_t* out) {
  out[0] += 1;
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
