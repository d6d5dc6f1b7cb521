// Activations, forward and backward, element by element.
#include <math.h>

#include "activation.cuh"
#include "elementwise.cuh"
#include "kernels.h"
#include "prelu.cuh"

namespace MINIDL_TARGET {
namespace {

// One activation: its value, and grad times its derivative from what backward has saved, x.
#define ACTIVATION(name, value, gradient)                                                           \
  struct name##_of {                                                                                \
    template <typename T>                                                                           \
    __device__ T operator()(T x) const {                                                            \
      return value;                                                                                 \
    }                                                                                               \
    template <typename T>                                                                           \
    __device__ T operator()(T x, T grad) const {                                                    \
      return gradient;                                                                              \
    }                                                                                               \
  };                                                                                                \
  template <typename T>                                                                             \
  void name##_forward(Stream stream, const T* x, T* out, int64_t size) {                            \
    map(stream, size, out, name##_of{}, x);                                                         \
  }                                                                                                 \
  template <typename T>                                                                             \
  void name##_backward(Stream stream, const T* saved, const T* grad_out, T* grad_x, int64_t size) { \
    map(stream, size, grad_x, name##_of{}, saved, grad_out);                                        \
  }

// sigmoid and tanh save their output: there, x is out.
ACTIVATION(sigmoid, sigmoid(x), grad * x * (T(1) - x))
ACTIVATION(tanh, ::tanh(x), grad*(T(1) - x * x))

// Klambauer 2017, self-normalizing networks: the fixed point of mean 0 and variance 1.
constexpr double selu_alpha = 1.6732632423543772848170429916717, selu_scale = 1.0507009873554804934193349852946;
ACTIVATION(selu, T(selu_scale) * (x > T(0) ? x : T(selu_alpha) * ::expm1(x)),
           grad*(T(selu_scale) * (x > T(0) ? T(1) : T(selu_alpha) * ::exp(x))))

// x factor; 0 where the factor underflows, so that x = -inf gives 0 and not nan.
template <typename T>
__device__ T times_or_zero(T x, T factor) {
  return factor == T(0) ? factor : x * factor;
}

// The density of the standard normal distribution; e^(-x^2/2) would magnify the rounding error of x^2.
template <typename T>
__device__ T normal_density(T x) {
  const T square = x * x, rounded_off = ::fma(x, x, -square);
  const T bell = T(0.39894228040143267794) * ::exp(T(-0.5) * square);
  return bell == T(0) ? bell : ::fma(T(-0.5) * rounded_off, bell, bell);
}
ACTIVATION(gelu, times_or_zero(x, T(::normcdf(x))), grad*(T(::normcdf(x)) + times_or_zero(x, normal_density(x))))

// x / 2 (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
constexpr double twice_sqrt_2_over_pi = 2 * 0.79788456080286535588;
template <typename T>
__device__ T gelu_tanh_argument(T x) {
  return T(twice_sqrt_2_over_pi) * (T(0.044715) * x * (x * x) + x);
}
template <typename T>
__device__ T gelu_tanh_slope(T x) {
  const T s = sigmoid(gelu_tanh_argument(x));
  const T argument_slope = T(twice_sqrt_2_over_pi) * (T(3 * 0.044715) * x * x + T(1));
  return s + times_or_zero(x * argument_slope, s * (T(1) - s));
}
ACTIVATION(gelu_tanh, times_or_zero(x, sigmoid(gelu_tanh_argument(x))), grad* gelu_tanh_slope(x))

template <typename T>
__device__ T silu_slope(T x) {
  const T s = sigmoid(x);
  return s + times_or_zero(x, s * (T(1) - s));
}
ACTIVATION(silu, times_or_zero(x, sigmoid(x)), grad* silu_slope(x))

// With e = e^x and p = e (e + 2): tanh(ln(1 + e^x)) = p / (p + 2), without cancellation. It is 1 from x = 40 on.
template <typename T>
__device__ T mish(T x) {
  const T e = ::exp(x > T(40) ? T(40) : x), p = e * (e + T(2));
  return times_or_zero(x, p / (p + T(2)));
}
// t + x sigmoid(x) (1 - t^2) = (p + 4 x e (1 + e) / (p + 2)) / (p + 2)
template <typename T>
__device__ T mish_slope(T x) {
  const T limited = x > T(40) ? T(40) : x, e = ::exp(limited), p = e * (e + T(2));
  const T inverse = T(1) / (p + T(2));
  return (p + times_or_zero(limited, e * (T(4) + T(4) * e) * inverse)) * inverse;
}
ACTIVATION(mish, mish(x), grad* mish_slope(x))

// x / (1 + |x|); 1 with x's sign where |x| is infinite.
template <typename T>
__device__ T softsign(T x) {
  return isinf(x) ? copysign(T(1), x) : x / (T(1) + fabs(x));
}
template <typename T>
__device__ T softsign_slope(T x) {
  const T denominator = T(1) + fabs(x);
  return T(1) / (denominator * denominator);
}
ACTIVATION(softsign, softsign(x), grad* softsign_slope(x))

// ln(1 + e^x) without overflow; a nan stays one.
template <typename T>
__device__ T softplus(T x) {
  return (x < T(0) ? T(0) : x) + ::log1p(::exp(-fabs(x)));
}
ACTIVATION(logsigmoid, -softplus(-x), grad* sigmoid(-x))
#undef ACTIVATION

// max(x, 0); dropped units have out = 0 as well, so that an infinite gradient leaves no nan in them.
template <typename T>
struct Relu {
  T scale;
  __device__ T operator()(T x) const { return x < T(0) ? T(0) : x; }
  __device__ T operator()(T out, T grad) const { return out > T(0) ? scale * grad : T(0); }
};
template <typename T>
void relu_forward(Stream stream, const T* x, T* out, int64_t size) {
  map(stream, size, out, Relu<T>{T(1)}, x);
}
template <typename T>
void relu_backward(Stream stream, const T* out, const T* grad_out, T* grad_x, int64_t size, double scale) {
  map(stream, size, grad_x, Relu<T>{(T)scale}, out, grad_out);
}

template <typename T>
struct LeakyRelu {
  T slope;
  __device__ T operator()(T x) const { return x > T(0) ? x : x * slope; }
  __device__ T operator()(T x, T grad) const { return x > T(0) ? grad : grad * slope; }
};
template <typename T>
void leaky_relu_forward(Stream stream, const T* x, T* out, int64_t size, double negative_slope) {
  map(stream, size, out, LeakyRelu<T>{(T)negative_slope}, x);
}
template <typename T>
void leaky_relu_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double negative_slope) {
  map(stream, size, grad_x, LeakyRelu<T>{(T)negative_slope}, x, grad_out);
}

template <typename T>
struct Elu {
  T alpha;
  __device__ T operator()(T x) const { return x > T(0) ? x : alpha * ::expm1(x); }
  __device__ T operator()(T x, T grad) const { return x > T(0) ? grad : grad * alpha * ::exp(x); }
};
template <typename T>
void elu_forward(Stream stream, const T* x, T* out, int64_t size, double alpha) {
  map(stream, size, out, Elu<T>{(T)alpha}, x);
}
template <typename T>
void elu_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double alpha) {
  map(stream, size, grad_x, Elu<T>{(T)alpha}, x, grad_out);
}

template <typename T>
struct Celu {
  T alpha;
  __device__ T operator()(T x) const { return x > T(0) ? x : alpha * ::expm1(x / alpha); }
  __device__ T operator()(T x, T grad) const { return x > T(0) ? grad : grad * ::exp(x / alpha); }
};
template <typename T>
void celu_forward(Stream stream, const T* x, T* out, int64_t size, double alpha) {
  map(stream, size, out, Celu<T>{(T)alpha}, x);
}
template <typename T>
void celu_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double alpha) {
  map(stream, size, grad_x, Celu<T>{(T)alpha}, x, grad_out);
}

template <typename T>
struct Softplus {
  T beta, threshold;
  __device__ T operator()(T x) const { return beta * x > threshold ? x : softplus(beta * x) / beta; }
  __device__ T operator()(T x, T grad) const { return beta * x > threshold ? grad : grad * sigmoid(beta * x); }
};
template <typename T>
void softplus_forward(Stream stream, const T* x, T* out, int64_t size, double beta, double threshold) {
  map(stream, size, out, Softplus<T>{(T)beta, (T)threshold}, x);
}
template <typename T>
void softplus_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double beta,
                       double threshold) {
  map(stream, size, grad_x, Softplus<T>{(T)beta, (T)threshold}, x, grad_out);
}

// A nan is neither below nor above.
template <typename T>
struct Hardtanh {
  T min, max;
  __device__ T operator()(T x) const {
    const T raised = x < min ? min : x;
    return raised > max ? max : raised;
  }
  __device__ T operator()(T x, T grad) const { return x > min && x < max ? grad : T(0); }
};
template <typename T>
void hardtanh_forward(Stream stream, const T* x, T* out, int64_t size, double min, double max) {
  map(stream, size, out, Hardtanh<T>{(T)min, (T)max}, x);
}
template <typename T>
void hardtanh_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double min, double max) {
  map(stream, size, grad_x, Hardtanh<T>{(T)min, (T)max}, x, grad_out);
}

}  // namespace

EXPORT(relu_forward)
EXPORT(relu_backward)
EXPORT(leaky_relu_forward)
EXPORT(leaky_relu_backward)
EXPORT(prelu_forward)
EXPORT(prelu_backward)
EXPORT(elu_forward)
EXPORT(elu_backward)
EXPORT(selu_forward)
EXPORT(selu_backward)
EXPORT(celu_forward)
EXPORT(celu_backward)
EXPORT(gelu_forward)
EXPORT(gelu_backward)
EXPORT(gelu_tanh_forward)
EXPORT(gelu_tanh_backward)
EXPORT(silu_forward)
EXPORT(silu_backward)
EXPORT(mish_forward)
EXPORT(mish_backward)
EXPORT(softplus_forward)
EXPORT(softplus_backward)
EXPORT(softsign_forward)
EXPORT(softsign_backward)
EXPORT(sigmoid_forward)
EXPORT(sigmoid_backward)
EXPORT(logsigmoid_forward)
EXPORT(logsigmoid_backward)
EXPORT(tanh_forward)
EXPORT(tanh_backward)
EXPORT(hardtanh_forward)
EXPORT(hardtanh_backward)

}  // namespace MINIDL_TARGET
