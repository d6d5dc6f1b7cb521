// Matrix products: plain, batched, and the three of a linear layer.
#include "gemm/gemm.cuh"
#include "gemm/narrow.cuh"
#include "gemm/vector_products.cuh"
#include "kernels.h"

namespace MINIDL_TARGET {

namespace {

// With fewer steps a warp of dot_products_kernel would have idle lanes.
template <typename T>
constexpr int64_t least_dot_depth = warp_threads * vector_size<T>;

template <typename T>
void multiply(Stream stream, const Product<T>& p) {
  bool is_vector = (p.m == 1 || p.n == 1) && !p.line_sums;
  const Factor<T>& matrix = p.m == 1 ? p.b : p.a;
  if (is_vector && (!matrix.has_contiguous_lines || p.k >= least_dot_depth<T>)) {
    Product<T> transposed = p;
    if (p.m > 1) {
      transposed.m = 1, transposed.n = p.m;
      transposed.a = p.b, transposed.b = p.a;
      transposed.repeats_bias = true;
    }
    multiply_vector(stream, transposed);
  } else {
    multiply_in_tiles(stream, p);
  }
}

// A layer's product, whose factors lie one way only; matmul(), which takes either in any layout, is to give the same
// bits for all of them.
template <typename T>
void multiply_for_layer(Stream stream, const Product<T>& p) {
  if (!multiply_narrow(stream, p)) multiply(stream, p);
}

template <typename T>
void matmul(Stream stream, const T* a, const T* b, T* out, int64_t batch, int64_t m, int64_t n, int64_t k,
            int64_t batch_stride_a, int64_t batch_stride_b, bool transpose_a, bool transpose_b, bool accumulate) {
  // Many matrices times one are a single tall matrix times that one.
  if (batch_stride_b == 0 && !transpose_a && batch_stride_a == m * k) {
    m *= batch;
    batch = 1;
  }
  // A grid has at most 2^31 - 1 blocks.
  constexpr int64_t most_at_once = 1 << 20;
  for (int64_t first = 0; first < batch; first += most_at_once) {
    int64_t count = batch - first < most_at_once ? batch - first : most_at_once;
    multiply(stream,
             Product<T>{count, m, n, k, Factor<T>{a + first * batch_stride_a, m, k, !transpose_a, batch_stride_a},
                        Factor<T>{b + first * batch_stride_b, n, k, transpose_b, batch_stride_b}, out + first * m * n,
                        accumulate});
  }
}

template <typename T>
void linear_forward(Stream stream, const T* x, const T* weight, const T* bias, T* out, int64_t rows,
                    int64_t in_features, int64_t out_features, Activation activation) {
  multiply_for_layer(stream,
                     Product<T>{1, rows, out_features, in_features, Factor<T>{x, rows, in_features, true},
                                Factor<T>{weight, out_features, in_features, true}, out, false, bias, activation});
}

template <typename T>
void linear_backward_input(Stream stream, const T* grad_out, const T* weight, const T* saved, T* grad_x, int64_t rows,
                           int64_t in_features, int64_t out_features, Activation activation) {
  if (activation == Activation::none) saved = nullptr;
  multiply_for_layer(
      stream,
      Product<T>{1, rows, in_features, out_features, Factor<T>{grad_out, rows, out_features, true},
                 Factor<T>{weight, in_features, out_features, false}, grad_x, false, nullptr, activation, saved});
}

template <typename T>
void linear_backward_weight(Stream stream, const T* grad_out, const T* x, T* grad_weight, T* grad_bias, int64_t rows,
                            int64_t in_features, int64_t out_features, bool accumulate) {
  Product<T> p{1,
               out_features,
               in_features,
               rows,
               Factor<T>{grad_out, out_features, rows, false},
               Factor<T>{x, in_features, rows, false},
               grad_weight,
               accumulate};
  p.line_sums = grad_bias;
  multiply(stream, p);
}

}  // namespace
EXPORT(matmul)
EXPORT(linear_forward)
EXPORT(linear_backward_input)
EXPORT(linear_backward_weight)

}  // namespace MINIDL_TARGET
