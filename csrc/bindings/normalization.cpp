// Batch norm and layer norm.
#include "binding.h"
#include "families.h"

namespace minidl {

void bind_normalization(py::module_& m) {
  m.def(
      "batch_norm_forward_training",
      [](Array x, Array weight, Array bias, Array running_mean, Array running_var, Array out, Array mean, Array inv_std,
         double momentum, double eps, ActivationArgument activation, Array ticket, double p) {
        ARRAYS(batch_norm_forward_training, x, weight, bias, running_mean, running_var, out, mean, inv_std, ticket);
        Channels c = channels_of(x);
        for (const Array* a : {&weight, &bias, &running_mean, &running_var, &mean, &inv_std})
          require_shape(*a, {c.channels});
        require_given(mean);
        require_given(inv_std);
        require_same_shape(x, out);
        if (ticket.is_given) require_size(ticket, 2);
        if (activation != Activation::none && activation != Activation::relu)
          throw std::invalid_argument(
              "batch_norm_forward_training(): activation must be none or relu; call the other activations' own kernel");
        run(ENTRY(batch_norm_forward_training), x.dtype, x, weight, bias, ticket, running_mean, running_var, out, mean,
            inv_std, c.outer, c.channels, c.inner, momentum, eps, activation, p);
      },
      maths::batch_norm_forward_training, "x"_a, "weight"_a, "bias"_a, "running_mean"_a, "running_var"_a, "out"_a,
      "mean"_a, "inv_std"_a, "momentum"_a, "eps"_a, "activation"_a = m.attr("Activation").attr("none"),
      "ticket"_a = py::none(), "p"_a = 0.0);
  m.def(
      "batch_norm_forward_evaluation",
      [](Array x, Array weight, Array bias, Array running_mean, Array running_var, Array out, double eps) {
        ARRAYS(batch_norm_forward_evaluation, x, weight, bias, running_mean, running_var, out);
        Channels c = channels_of(x);
        for (const Array* a : {&weight, &bias, &running_mean, &running_var}) require_shape(*a, {c.channels});
        require_given(running_mean);
        require_given(running_var);
        require_same_shape(x, out);
        run(ENTRY(batch_norm_forward_evaluation), x.dtype, x, weight, bias, running_mean, running_var, out, c.outer,
            c.channels, c.inner, eps);
      },
      maths::batch_norm_forward_evaluation, "x"_a, "weight"_a, "bias"_a, "running_mean"_a, "running_var"_a, "out"_a,
      "eps"_a);
  m.def(
      "batch_norm_backward",
      [](Array x, Array weight, Array mean, Array inv_std, Array grad_out, Array grad_x, Array grad_weight,
         Array grad_bias, Array out, double scale) {
        ARRAYS(batch_norm_backward, x, weight, mean, inv_std, grad_out, grad_x, grad_weight, grad_bias, out);
        Channels c = channels_of(x);
        for (const Array* a : {&weight, &mean, &inv_std, &grad_weight, &grad_bias}) require_shape(*a, {c.channels});
        require_given(mean);
        require_given(inv_std);
        require_same_shape(x, grad_out);
        if (grad_x.is_given) require_same_shape(x, grad_x);
        if (out.is_given) require_same_shape(x, out);
        run(ENTRY(batch_norm_backward), x.dtype, x, weight, mean, inv_std, out, grad_out, grad_x, grad_weight,
            grad_bias, c.outer, c.channels, c.inner, scale);
      },
      maths::batch_norm_backward, "x"_a, "weight"_a, "mean"_a, "inv_std"_a, "grad_out"_a, "grad_x"_a, "grad_weight"_a,
      "grad_bias"_a, "out"_a = py::none(), "scale"_a = 1.0);
  m.def(
      "layer_norm_forward",
      [](Array x, Array weight, Array bias, Array out, Array mean, Array inv_std, double eps) {
        ARRAYS(layer_norm_forward, x, weight, bias, out, mean, inv_std);
        require_dims(x, 2);
        for (const Array* a : {&weight, &bias}) require_shape(*a, {x[1]});
        require_same_shape(x, out);
        require_size(mean, x[0]);
        require_size(inv_std, x[0]);
        run(ENTRY(layer_norm_forward), x.dtype, x, weight, bias, out, mean, inv_std, x[0], x[1], eps);
      },
      maths::layer_norm_forward, "x"_a, "weight"_a, "bias"_a, "out"_a, "mean"_a, "inv_std"_a, "eps"_a);
  m.def(
      "layer_norm_backward",
      [](Array x, Array weight, Array mean, Array inv_std, Array grad_out, Array grad_x, Array grad_weight,
         Array grad_bias) {
        ARRAYS(layer_norm_backward, x, weight, mean, inv_std, grad_out, grad_x, grad_weight, grad_bias);
        require_dims(x, 2);
        for (const Array* a : {&weight, &grad_weight, &grad_bias}) require_shape(*a, {x[1]});
        require_size(mean, x[0]);
        require_size(inv_std, x[0]);
        require_same_shape(x, grad_out);
        if (grad_x.is_given) require_same_shape(x, grad_x);
        run(ENTRY(layer_norm_backward), x.dtype, x, weight, mean, inv_std, grad_out, grad_x, grad_weight, grad_bias,
            x[0], x[1]);
      },
      maths::layer_norm_backward, "x"_a, "weight"_a, "mean"_a, "inv_std"_a, "grad_out"_a, "grad_x"_a, "grad_weight"_a,
      "grad_bias"_a);
}

}  // namespace minidl
