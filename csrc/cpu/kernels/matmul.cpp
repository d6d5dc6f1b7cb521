// Matrix products: plain, batched, and the three of a linear layer.
#include "float_mode.h"
#include "gemm/bfloat16.h"
#include "gemm/column_sums.h"
#include "gemm/gemm.h"
#include "gemm/product.h"
#include "gemm/shallow_products.h"
#include "gemm/vector_products.h"
#include "kernels.h"
#include "parallel.h"

namespace MINIDL_TARGET {

namespace {

// Dot products beat the tiles, which would have to transpose all of b or leave most of a vector idle, for a few lines;
// for more if these are long enough to make up for adding the lanes at their end.
template <typename T>
bool prefers_dots(const Product<T>& p) {
  if (!p.a.has_contiguous_lines || !p.b.has_contiguous_lines) return false;
  constexpr int64_t width = Vec<T>::width;
  bool has_few_rows = p.m <= max_dot_lines && p.m * p.k * (int64_t)sizeof(T) <= max_dot_bytes;
  return smaller(p.m, p.n) <= 6 || (p.n <= 12 && p.k >= 8 * width) || (has_few_rows && p.k >= 12 * width);
}

template <typename T>
void multiply(Stream stream, Product<T> p, Kept kept = Kept::nothing) {
  p.kept = kept;
  if (p.m == 0 || p.n == 0 || multiply_in_bfloat16(stream, p)) return;
  bool is_plain = p.bias == nullptr && (p.activation == Activation::none || p.saved);
  if (prefers_dots(p))
    multiply_by_dots(stream, p);
  else if (p.m == 1 && !p.b.has_contiguous_lines && is_plain)
    sum_weighted_rows(stream, p, p.a.data, p.b.data, p.n);
  else if (p.n == 1 && !p.a.has_contiguous_lines && is_plain)
    sum_weighted_rows(stream, p, p.b.data, p.a.data, p.m);
  else if (p.k == 1 && is_plain)
    multiply_outer(stream, p);
  else if (is_plain && is_shallow(p))
    multiply_shallow(stream, p);
  else
    multiply_packed(stream, p);
}

template <typename T>
void matmul(Stream stream, const T* a, const T* b, T* out, int64_t batch, int64_t m, int64_t n, int64_t k,
            int64_t batch_stride_a, int64_t batch_stride_b, bool transpose_a, bool transpose_b, bool accumulate) {
  // Many matrices times one are a single tall matrix times that one.
  if (batch_stride_b == 0 && !transpose_a && (batch_stride_a == m * k)) {
    m *= batch;
    batch = 1;
  }
  auto multiply_one = [=](Stream inner, int64_t i) {
    multiply(inner, Product<T>{m, n, k, Factor<T>(a + i * batch_stride_a, m, k, !transpose_a),
                               Factor<T>(b + i * batch_stride_b, n, k, transpose_b), out + i * m * n, accumulate});
  };
  if (batch >= 2 * stream.threads && batch > 1) {
    // Whole matrices per thread.
    int64_t grain = gemm_grain / larger(1, m * n * k) + 1;
    parallel_for(
        stream, batch, grain,
        [=](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) multiply_one(Stream{1, stream.rounding}, i);
        },
        1);
  } else {
    for (int64_t i = 0; i < batch; ++i) multiply_one(stream, i);
  }
}

template <typename T>
void linear_forward(Stream stream, const T* x, const T* weight, const T* bias, T* out, int64_t rows,
                    int64_t in_features, int64_t out_features, Activation activation) {
  multiply(stream,
           Product<T>{rows, out_features, in_features, Factor<T>(x, rows, in_features, true),
                      Factor<T>(weight, out_features, in_features, true), out, false, bias, activation},
           Kept::columns);
}

template <typename T>
void linear_backward_input(Stream stream, const T* grad_out, const T* weight, const T* saved, T* grad_x, int64_t rows,
                           int64_t in_features, int64_t out_features, Activation activation) {
  if (activation == Activation::none) saved = nullptr;
  multiply(stream,
           Product<T>{rows, in_features, out_features, Factor<T>(grad_out, rows, out_features, true),
                      Factor<T>(weight, in_features, out_features, false), grad_x, false, nullptr, activation, saved},
           Kept::columns);
}

template <typename T>
void linear_backward_weight(Stream stream, const T* grad_out, const T* x, T* grad_weight, T* grad_bias, int64_t rows,
                            int64_t in_features, int64_t out_features, bool accumulate) {
  if (grad_bias) sum_columns(stream, grad_out, grad_bias, rows, out_features, accumulate);
  const minidl::FlushDenormals while_it_lives;
  multiply(stream,
           Product<T>{out_features, in_features, rows, Factor<T>(grad_out, out_features, rows, false),
                      Factor<T>(x, in_features, rows, false), grad_weight, accumulate},
           Kept::rows);
}
}  // namespace
EXPORT_FLUSHING(matmul)
EXPORT_FLUSHING(linear_forward)
EXPORT_FLUSHING(linear_backward_input)
EXPORT(linear_backward_weight)

}  // namespace MINIDL_TARGET
