// Matrix products: plain, batched, and the three of a linear layer.
#include "gemm/gemm.cuh"
#include "kernels.h"

namespace MINIDL_TARGET {

namespace {

template <typename T>
void multiply(Stream stream, const Product<T>& p) {
  multiply_in_tiles(stream, p, tiles_for<T>());
}

template <typename T>
void matmul(Stream stream, const T* a, const T* b, T* out, int64_t batch, int64_t m, int64_t n, int64_t k,
            int64_t batch_stride_a, int64_t batch_stride_b, bool transpose_a, bool transpose_b, bool accumulate) {
  // Many matrices times one are a single tall matrix times that one.
  if (batch_stride_b == 0 && !transpose_a && batch_stride_a == m * k) {
    m *= batch;
    batch = 1;
  }
  multiply(stream, Product<T>{batch, m, n, k, Factor<T>{a, m, k, !transpose_a, batch_stride_a},
                              Factor<T>{b, n, k, transpose_b, batch_stride_b}, out, accumulate});
}

template <typename T>
void linear_forward(Stream stream, const T* x, const T* weight, const T* bias, T* out, int64_t rows,
                    int64_t in_features, int64_t out_features, Activation activation) {
  multiply(stream, Product<T>{1, rows, out_features, in_features, Factor<T>{x, rows, in_features, true},
                              Factor<T>{weight, out_features, in_features, true}, out, false, bias, activation});
}

template <typename T>
void linear_backward_input(Stream stream, const T* grad_out, const T* weight, const T* saved, T* grad_x, int64_t rows,
                           int64_t in_features, int64_t out_features, Activation activation) {
  if (activation == Activation::none) saved = nullptr;
  multiply(stream,
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
