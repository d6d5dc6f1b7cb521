// Softmax and its logarithm, along rows.
#include "binding.h"
#include "families.h"

namespace minidl {

void bind_softmax(py::module_& m) {
  auto define_forward = [&m](auto entry) {
    m.def(
        entry.name,
        [entry](Array x, Array out) {
          name_arrays(entry.name, "x, out", x, out);
          require_dims(x, 2);
          require_same_shape(x, out);
          run(entry, x.dtype, x, out, x[0], x[1]);
        },
        entry.maths, "x"_a, "out"_a);
  };
  auto define_backward = [&m](auto entry) {
    m.def(
        entry.name,
        [entry](Array out, Array grad_out, Array grad_x) {
          name_arrays(entry.name, "out, grad_out, grad_x", out, grad_out, grad_x);
          require_dims(out, 2);
          require_same_shape(out, grad_out);
          require_same_shape(out, grad_x);
          run(entry, out.dtype, out, grad_out, grad_x, out[0], out[1]);
        },
        entry.maths, "out"_a, "grad_out"_a, "grad_x"_a);
  };
  define_forward(ENTRY(softmax_forward));
  define_backward(ENTRY(softmax_backward));
  define_forward(ENTRY(log_softmax_forward));
  define_backward(ENTRY(log_softmax_backward));
  m.def(
      "logsumexp_forward",
      [](Array x, Array out) {
        ARRAYS(logsumexp_forward, x, out);
        require_dims(x, 2);
        require_size(out, x[0]);
        run(ENTRY(logsumexp_forward), x.dtype, x, out, x[0], x[1]);
      },
      maths::logsumexp_forward, "x"_a, "out"_a);
  m.def(
      "logsumexp_backward",
      [](Array x, Array out, Array grad_out, Array grad_x) {
        ARRAYS(logsumexp_backward, x, out, grad_out, grad_x);
        require_dims(x, 2);
        require_size(out, x[0]);
        require_size(grad_out, x[0]);
        require_same_shape(x, grad_x);
        run(ENTRY(logsumexp_backward), x.dtype, x, out, grad_out, grad_x, x[0], x[1]);
      },
      maths::logsumexp_backward, "x"_a, "out"_a, "grad_out"_a, "grad_x"_a);
}

}  // namespace minidl
