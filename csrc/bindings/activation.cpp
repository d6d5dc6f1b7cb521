// Activations and their gradients.
#include "families.h"
#include "unary.h"

namespace minidl {

void bind_activation(py::module_& m) {
  define_unary(m, ENTRY(relu_forward));
  define_unary_backward(m, ENTRY(relu_backward), "out", "scale"_a = 1.0);
  define_unary(m, ENTRY(leaky_relu_forward), "negative_slope"_a);
  define_unary_backward(m, ENTRY(leaky_relu_backward), "x", "negative_slope"_a);
  define_unary(m, ENTRY(elu_forward), "alpha"_a);
  define_unary_backward(m, ENTRY(elu_backward), "x", "alpha"_a);
  define_unary(m, ENTRY(selu_forward));
  define_unary_backward(m, ENTRY(selu_backward), "x");
  define_unary(m, ENTRY(celu_forward), "alpha"_a);
  define_unary_backward(m, ENTRY(celu_backward), "x", "alpha"_a);
  define_unary(m, ENTRY(gelu_forward));
  define_unary_backward(m, ENTRY(gelu_backward), "x");
  define_unary(m, ENTRY(gelu_tanh_forward));
  define_unary_backward(m, ENTRY(gelu_tanh_backward), "x");
  define_unary(m, ENTRY(silu_forward));
  define_unary_backward(m, ENTRY(silu_backward), "x");
  define_unary(m, ENTRY(mish_forward));
  define_unary_backward(m, ENTRY(mish_backward), "x");
  define_unary(m, ENTRY(softplus_forward), "beta"_a, "threshold"_a);
  define_unary_backward(m, ENTRY(softplus_backward), "x", "beta"_a, "threshold"_a);
  define_unary(m, ENTRY(softsign_forward));
  define_unary_backward(m, ENTRY(softsign_backward), "x");
  define_unary(m, ENTRY(sigmoid_forward));
  define_unary_backward(m, ENTRY(sigmoid_backward), "out");
  define_unary(m, ENTRY(logsigmoid_forward));
  define_unary_backward(m, ENTRY(logsigmoid_backward), "x");
  define_unary(m, ENTRY(tanh_forward));
  define_unary_backward(m, ENTRY(tanh_backward), "out");
  define_unary(m, ENTRY(hardtanh_forward), "min"_a, "max"_a);
  define_unary_backward(m, ENTRY(hardtanh_backward), "x", "min"_a, "max"_a);
  m.def(
      "prelu_forward",
      [](Array x, Array weight, Array out) {
        ARRAYS(prelu_forward, x, weight, out);
        require_same_shape(x, out);
        require_dims(weight, 1);
        Channels c = weight[0] == 1 ? Channels{1, 1, x.size()} : channels_of(x);
        require_shape(weight, {c.channels});
        run(ENTRY(prelu_forward), x.dtype, x, weight, out, c.outer, c.channels, c.inner);
      },
      maths::prelu_forward, "x"_a, "weight"_a, "out"_a);
  m.def(
      "prelu_backward",
      [](Array x, Array weight, Array grad_out, Array grad_x, Array grad_weight) {
        ARRAYS(prelu_backward, x, weight, grad_out, grad_x, grad_weight);
        require_same_shape(x, grad_out);
        require_same_shape(x, grad_x);
        require_dims(weight, 1);
        require_same_shape(weight, grad_weight);
        Channels c = weight[0] == 1 ? Channels{1, 1, x.size()} : channels_of(x);
        require_shape(weight, {c.channels});
        run(ENTRY(prelu_backward), x.dtype, x, weight, grad_out, grad_x, grad_weight, c.outer, c.channels, c.inner);
      },
      maths::prelu_backward, "x"_a, "weight"_a, "grad_out"_a, "grad_x"_a, "grad_weight"_a);
}

}  // namespace minidl
