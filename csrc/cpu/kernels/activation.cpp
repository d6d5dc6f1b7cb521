// Activations, forward and backward, element by element.
#include <string.h>

#include "activation_gradient.h"
#include "bands.h"
#include "elementwise.h"
#include "float_mode.h"
#include "kernels.h"
#include "pairwise.h"
#include "parallel.h"
#include "simd.h"
#include "simd_math.h"
#include "tall_columns.h"

namespace MINIDL_TARGET {
namespace {

template <typename T>
SIMD_INLINE Vec<T> constant(double value) {
  return Vec<T>((T)value);
}

// Klambauer 2017, self-normalizing networks: the fixed point of mean 0 and variance 1.
constexpr double selu_alpha = 1.6732632423543772848170429916717, selu_scale = 1.0507009873554804934193349852946;
constexpr double sqrt_2_over_pi = 0.79788456080286535588;

// One activation: its value, and grad_out times its derivative from what backward has saved.
#define ACTIVATION(name, grain, value, gradient)                                                                     \
  template <typename T>                                                                                              \
  void name##_forward(Stream stream, const T* input, T* out, int64_t size) {                                         \
    map(stream, size, grain, out, [](Vec<T> x) ALWAYS_INLINE { return value; }, input);                              \
  }                                                                                                                  \
  template <typename T>                                                                                              \
  void name##_backward(Stream stream, const T* saved, const T* grad_out, T* grad_x, int64_t size) {                  \
    map(stream, size, grain, grad_x, [](Vec<T> x, Vec<T> grad) ALWAYS_INLINE { return gradient; }, saved, grad_out); \
  }

// sigmoid and tanh save their output: there, x is out.
ACTIVATION(sigmoid, function_grain, sigmoid(x), sigmoid_gradient(x, grad))
ACTIVATION(tanh, function_grain, tanh(x), tanh_gradient(x, grad))

template <typename T>
SIMD_INLINE Vec<T> selu(Vec<T> x) {
  return constant<T>(selu_scale) * select(x > Vec<T>{}, x, constant<T>(selu_alpha) * expm1(x));
}
template <typename T>
SIMD_INLINE Vec<T> selu_slope(Vec<T> x) {
  return constant<T>(selu_scale) * select(x > Vec<T>{}, constant<T>(1), constant<T>(selu_alpha) * exp(x));
}
ACTIVATION(selu, function_grain, selu(x), grad* selu_slope(x))

ACTIVATION(gelu, function_grain, gelu(x), grad* gelu_slope(x))

// x / 2 (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
template <typename T>
SIMD_INLINE Vec<T> gelu_tanh_argument(Vec<T> x) {
  return constant<T>(2 * sqrt_2_over_pi) * fma(constant<T>(0.044715) * x, x * x, x);
}
template <typename T>
SIMD_INLINE Vec<T> gelu_tanh_slope(Vec<T> x) {
  Vec<T> s = sigmoid(gelu_tanh_argument(x));
  Vec<T> argument_slope = constant<T>(2 * sqrt_2_over_pi) * fma(constant<T>(3 * 0.044715) * x, x, constant<T>(1));
  return s + times_or_zero(x * argument_slope, s * (constant<T>(1) - s));
}
ACTIVATION(gelu_tanh, function_grain, times_or_zero(x, sigmoid(gelu_tanh_argument(x))), grad* gelu_tanh_slope(x))

template <typename T>
SIMD_INLINE Vec<T> silu_slope(Vec<T> x) {
  Vec<T> s = sigmoid(x);
  return s + times_or_zero(x, s * (constant<T>(1) - s));
}
ACTIVATION(silu, function_grain, times_or_zero(x, sigmoid(x)), grad* silu_slope(x))

// With e = e^x and p = e (e + 2): tanh(ln(1 + e^x)) = p / (p + 2), without cancellation. It is 1 from x = 40 on.
template <typename T>
struct MishParts {
  Vec<T> e, p;
};
template <typename T>
SIMD_INLINE MishParts<T> mish_parts(Vec<T> x) {
  Vec<T> e = exp(min(constant<T>(40), x));
  return {e, e * (e + constant<T>(2))};
}
template <typename T>
SIMD_INLINE Vec<T> mish(Vec<T> x) {
  Vec<T> p = mish_parts(x).p;
  return times_or_zero(x, p / (p + constant<T>(2)));
}
// t + x sigmoid(x) (1 - t^2) = (p + 4 x e (1 + e) / (p + 2)) / (p + 2)
template <typename T>
SIMD_INLINE Vec<T> mish_slope(Vec<T> x) {
  auto [e, p] = mish_parts(x);
  Vec<T> inverse = constant<T>(1) / (p + constant<T>(2));
  Vec<T> part = e * (constant<T>(4) + constant<T>(4) * e) * inverse;
  return (p + times_or_zero(min(constant<T>(40), x), part)) * inverse;
}
ACTIVATION(mish, function_grain, mish(x), grad* mish_slope(x))

// x / (1 + |x|); 1 with x's sign where |x| is infinite.
template <typename T>
SIMD_INLINE Vec<T> softsign(Vec<T> x) {
  Vec<T> magnitude = abs(x);
  return select(magnitude == constant<T>(__builtin_inf()), copysign(constant<T>(1), x),
                x / (constant<T>(1) + magnitude));
}
template <typename T>
SIMD_INLINE Vec<T> softsign_slope(Vec<T> x) {
  Vec<T> denominator = constant<T>(1) + abs(x);
  return constant<T>(1) / (denominator * denominator);
}
ACTIVATION(softsign, cheap_grain, softsign(x), grad* softsign_slope(x))

// -ln(1 + e^-x) = min(x, 0) - ln(1 + e^-|x|)
template <typename T>
SIMD_INLINE Vec<T> logsigmoid(Vec<T> x) {
  return min(Vec<T>{}, x) - softplus_tail(abs(x));
}
ACTIVATION(logsigmoid, function_grain, logsigmoid(x), grad* sigmoid(-x))
#undef ACTIVATION

template <typename T>
void relu_forward(Stream stream, const T* x, T* out, int64_t size) {
  map(stream, size, cheap_grain, out, [](Vec<T> v) ALWAYS_INLINE { return max(Vec<T>{}, v); }, x);
}

// Dropped units have out = 0 as well: no random bits are drawn again, and an infinite gradient leaves no nan in them.
template <typename T>
void relu_backward(Stream stream, const T* out, const T* grad_out, T* grad_x, int64_t size, double scale) {
  Vec<T> factor((T)scale);
  auto gradient = [=](Vec<T> value, Vec<T> grad) ALWAYS_INLINE { return relu_gradient(value, factor * grad); };
  map(stream, size, cheap_grain, grad_x, gradient, out, grad_out);
}

template <typename T>
void leaky_relu_forward(Stream stream, const T* x, T* out, int64_t size, double negative_slope) {
  Vec<T> slope((T)negative_slope);
  map(stream, size, cheap_grain, out, [=](Vec<T> v) ALWAYS_INLINE { return select(v > Vec<T>{}, v, v * slope); }, x);
}

template <typename T>
void leaky_relu_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double negative_slope) {
  Vec<T> slope((T)negative_slope);
  auto gradient = [=](Vec<T> v, Vec<T> grad) ALWAYS_INLINE { return select(v > Vec<T>{}, grad, grad * slope); };
  map(stream, size, cheap_grain, grad_x, gradient, x, grad_out);
}

template <typename T>
void elu_forward(Stream stream, const T* x, T* out, int64_t size, double alpha) {
  Vec<T> scale((T)alpha);
  map(
      stream, size, function_grain, out,
      [=](Vec<T> v) ALWAYS_INLINE { return select(v > Vec<T>{}, v, scale * expm1(v)); }, x);
}

template <typename T>
void elu_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double alpha) {
  Vec<T> scale((T)alpha);
  auto gradient = [=](Vec<T> v, Vec<T> grad)
                      ALWAYS_INLINE { return select(v > Vec<T>{}, grad, grad * scale * exp(v)); };
  map(stream, size, function_grain, grad_x, gradient, x, grad_out);
}

template <typename T>
void celu_forward(Stream stream, const T* x, T* out, int64_t size, double alpha) {
  Vec<T> scale((T)alpha);
  map(
      stream, size, function_grain, out,
      [=](Vec<T> v) ALWAYS_INLINE { return select(v > Vec<T>{}, v, scale * expm1(v / scale)); }, x);
}

template <typename T>
void celu_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double alpha) {
  Vec<T> scale((T)alpha);
  auto gradient = [=](Vec<T> v, Vec<T> grad)
                      ALWAYS_INLINE { return select(v > Vec<T>{}, grad, grad * exp(v / scale)); };
  map(stream, size, function_grain, grad_x, gradient, x, grad_out);
}

// ln(1 + e^x) without overflow
template <typename T>
SIMD_INLINE Vec<T> softplus(Vec<T> x) {
  return max(x, Vec<T>{}) + softplus_tail(abs(x));
}

template <typename T>
void softplus_forward(Stream stream, const T* x, T* out, int64_t size, double beta, double threshold) {
  Vec<T> sharpness((T)beta), inverse((T)(1 / beta)), limit((T)threshold);
  auto value = [=](Vec<T> v) ALWAYS_INLINE {
    Vec<T> scaled = v * sharpness;
    return select(scaled > limit, v, softplus(scaled) * inverse);
  };
  map(stream, size, function_grain, out, value, x);
}

template <typename T>
void softplus_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double beta,
                       double threshold) {
  Vec<T> sharpness((T)beta), limit((T)threshold);
  auto gradient = [=](Vec<T> v, Vec<T> grad) ALWAYS_INLINE {
    Vec<T> scaled = v * sharpness;
    return select(scaled > limit, grad, grad * sigmoid(scaled));
  };
  map(stream, size, function_grain, grad_x, gradient, x, grad_out);
}

template <typename T>
void hardtanh_forward(Stream stream, const T* x, T* out, int64_t size, double low, double high) {
  Vec<T> lower((T)low), upper((T)high);
  map(stream, size, cheap_grain, out, [=](Vec<T> v) ALWAYS_INLINE { return min(upper, max(lower, v)); }, x);
}

template <typename T>
void hardtanh_backward(Stream stream, const T* x, const T* grad_out, T* grad_x, int64_t size, double low, double high) {
  Vec<T> lower((T)low), upper((T)high);
  auto gradient = [=](Vec<T> v, Vec<T> grad)
                      ALWAYS_INLINE { return select((v > lower) & (v < upper), grad, Vec<T>{}); };
  map(stream, size, cheap_grain, grad_x, gradient, x, grad_out);
}

template <typename T>
void prelu_forward(Stream stream, const T* x, const T* weight, T* out, int64_t outer, int64_t channels, int64_t inner) {
  Strided<2> layout{3, {outer, channels, inner}, {{channels * inner, inner, 1}, {0, 1, 0}}};
  if (inner == 1) layout = {2, {outer, channels}, {{channels, 1}, {0, 1}}};
  map_broadcast(stream, cheap_grain, layout, x, weight, out,
                [](Vec<T> v, Vec<T> slope) ALWAYS_INLINE { return select(v > Vec<T>{}, v, slope * v); });
}

// Writes grad_x, and gives the share of a vector in the sum that is grad_weight.
template <typename T, typename Place>
SIMD_INLINE Vec<T> prelu_gradient(Place at, const T* x, Vec<T> slope, const T* grad_out, T* grad_x) {
  Vec<T> v = at(x), grad = at(grad_out);
  Mask<T> passes = v > Vec<T>{};
  at.store(grad_x, select(passes, grad, slope * grad));
  return select(passes, Vec<T>{}, grad * v);
}

// Channels as columns of a tall matrix.
template <typename T>
void prelu_backward_tall(Stream stream, const T* x, const T* weight, const T* grad_out, T* grad_x, T* grad_weight,
                         int64_t rows, int64_t columns) {
  auto run = [=](auto place_of) {
    auto sum = [=](Band band, int64_t begin, int64_t end, BandSums<T, 1>& sums) {
      auto term = [=](auto at, Vec<T> slope, Vec<T>* sum) {
        *sum += prelu_gradient(place_of(at), x, slope, grad_out, grad_x);
      };
      sum_band(band, begin, end, [=](auto top) { return top(weight); }, term, sums, DoNothing{});
      native_finish_streams();
    };
    sum_tall_columns<T, 1>(stream, rows, columns, sum,
                           [=](auto at, Vec<T>* sums, const ChunkTable<T, 1>&) { at.store(grad_weight, sums[0]); });
  };
  const bool is_aligned = columns % Vec<T>::width == 0 && (uintptr_t)grad_x % vector_bytes == 0;
  if (is_aligned && rows * columns * (int64_t)sizeof(T) >= streamed_bytes)
    run([](auto at) { return past_caches(at); });
  else
    run([](auto at) { return at; });
}

// Split by channels, so that each sum over a channel is made by one thread; a single channel is cut into chunks.
template <typename T>
void prelu_backward(Stream stream, const T* x, const T* weight, const T* grad_out, T* grad_x, T* grad_weight,
                    int64_t outer, int64_t channels, int64_t inner) {
  auto gradient_of = [=](Vec<T> slope) {
    return [=](auto at) { return prelu_gradient(at, x, slope, grad_out, grad_x); };
  };
  if (channels == 1) {
    grad_weight[0] = parallel_sum<T>(stream, outer * inner, gradient_of(Vec<T>(weight[0])));
    return;
  }
  if (inner == 1 && is_tall<T>(outer, channels))
    return prelu_backward_tall(stream, x, weight, grad_out, grad_x, grad_weight, outer, channels);
  const int64_t grain = grain_of(outer * inner, cheap_grain);
  if (inner == 1)
    return parallel_for(
        stream, channels, grain,
        [=](int64_t begin, int64_t end) {
          for_bands<T>(begin, end, outer, channels, [=](Band band) {
            BandSums<T, 1> sums;
            sum_band(
                band, 0, outer, [=](auto top) { return top(weight); },
                [=](auto at, Vec<T> slope, Vec<T>* sum) { *sum += gradient_of(slope)(at); }, sums, DoNothing{});
            memcpy(grad_weight + band.column, sums.of[0], band.columns * sizeof(T));
          });
        },
        strip_columns<T>);
  parallel_for(
      stream, channels, grain,
      [=](int64_t begin, int64_t end) {
        for (int64_t channel = begin; channel < end; ++channel) {
          double sum = 0;
          for (int64_t o = 0; o < outer; ++o) {
            int64_t first = (o * channels + channel) * inner;
            sum += sum_row<T>(first, first + inner, gradient_of(Vec<T>(weight[channel])));
          }
          grad_weight[channel] = (T)sum;
        }
      },
      1);
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
EXPORT_FLUSHING(gelu_forward)
EXPORT_FLUSHING(gelu_backward)
EXPORT_FLUSHING(gelu_tanh_forward)
EXPORT_FLUSHING(gelu_tanh_backward)
EXPORT_FLUSHING(silu_forward)
EXPORT_FLUSHING(silu_backward)
EXPORT_FLUSHING(mish_forward)
EXPORT_FLUSHING(mish_backward)
EXPORT_FLUSHING(softplus_forward)
EXPORT_FLUSHING(softplus_backward)
EXPORT(softsign_forward)
EXPORT(softsign_backward)
EXPORT_FLUSHING(sigmoid_forward)
EXPORT_FLUSHING(sigmoid_backward)
EXPORT_FLUSHING(logsigmoid_forward)
EXPORT_FLUSHING(logsigmoid_backward)
EXPORT(tanh_forward)
EXPORT(tanh_backward)
EXPORT(hardtanh_forward)
EXPORT(hardtanh_backward)

}  // namespace MINIDL_TARGET
