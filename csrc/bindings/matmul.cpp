// Matrix products, and the layers that consist of them.
#include "binding.h"
#include "families.h"

namespace minidl {
namespace {

// The three products of a layer, and the same into new arrays: all that an eager step does for a layer in two calls.
namespace linear {

void forward(Array x, Array weight, Array bias, Array out, ActivationArgument activation) {
  ARRAYS(linear_forward, x, weight, bias, out);
  auto [rows, in_features] = rows_of(x);
  require_dims(weight, 2);
  int64_t out_features = weight[0];
  require_shape(weight, {out_features, in_features});
  require_shape(bias, {out_features});
  require_rows(out, {rows, out_features});
  run(ENTRY(linear_forward), x.dtype, x, weight, bias, out, rows, in_features, out_features, activation);
}

void backward_input(Array grad_out, Array weight, Array grad_x, Array saved, ActivationArgument activation) {
  ARRAYS(linear_backward_input, grad_out, weight, grad_x, saved);
  auto [rows, out_features] = rows_of(grad_out);
  require_dims(weight, 2);
  int64_t in_features = weight[1];
  require_shape(weight, {out_features, in_features});
  require_rows(grad_x, {rows, in_features});
  if (activation != Activation::none || saved.is_given) require_rows(saved, {rows, in_features});
  run(ENTRY(linear_backward_input), grad_out.dtype, grad_out, weight, saved, grad_x, rows, in_features, out_features,
      activation);
}

void backward_weight(Array grad_out, Array x, Array grad_weight, Array grad_bias, bool accumulate) {
  ARRAYS(linear_backward_weight, grad_out, x, grad_weight, grad_bias);
  auto [rows, out_features] = rows_of(grad_out);
  int64_t in_features = rows_of(x).columns;
  require_rows(x, {rows, in_features});
  require_given(grad_weight);
  require_shape(grad_weight, {out_features, in_features});
  require_shape(grad_bias, {out_features});
  run(ENTRY(linear_backward_weight), grad_out.dtype, grad_out, x, grad_weight, grad_bias, rows, in_features,
      out_features, accumulate);
}

// An array of like's number type with its first `kept` extents, then those of `more`.
py::object new_array(const Array& like, int kept, std::initializer_list<int64_t> more) {
  py::tuple shape(kept + more.size());
  size_t axis = 0;
  for (; axis < (size_t)kept; ++axis) shape[axis] = py::int_(like.shape[axis]);
  for (int64_t extent : more) shape[axis++] = py::int_(extent);
  return empty_array(shape, like.dtype == DType::float64 ? py::dtype::of<double>() : py::dtype::of<float>());
}

py::object output(Array x, Array weight, Array bias, ActivationArgument activation) {
  ARRAYS(linear_forward, x, weight);
  rows_of(x);
  require_dims(weight, 2);
  py::object out = new_array(x, x.dims - 1, {weight[0]});
  forward(x, weight, bias, array_from_python(out), activation);
  return out;
}

py::tuple gradients(Array grad_out, Array x, Array weight, bool wants_x, bool wants_weight, bool wants_bias,
                    bool through_relu) {
  name_arrays("linear_gradients", "grad_out, x, weight", grad_out, x, weight);
  for (const Array* array : {&grad_out, &x, &weight}) array->require_contiguous();
  rows_of(x);
  require_dims(weight, 2);
  py::object grad_x = py::none(), grad_weight = py::none(), grad_bias = py::none();
  if (wants_x) {
    grad_x = new_array(x, x.dims, {});
    ActivationArgument activation{through_relu ? Activation::relu : Activation::none};
    backward_input(grad_out, weight, array_from_python(grad_x), through_relu ? x : Array(), activation);
  }
  if (wants_weight) {
    grad_weight = new_array(weight, 2, {});
    if (wants_bias) grad_bias = new_array(weight, 1, {});
    backward_weight(grad_out, x, array_from_python(grad_weight), array_from_python(grad_bias), false);
  }
  return py::make_tuple(grad_x, grad_weight, grad_bias);
}

}  // namespace linear

}  // namespace

void bind_matmul(py::module_& m) {
  m.def(
      "matmul",
      [](Array a, Array b, Array out, bool transpose_a, bool transpose_b, bool accumulate) {
        ARRAYS(matmul, a, b, out);
        require_given(a);
        require_given(b);
        require_given(out);
        for (const Array* x : {&a, &b, &out})
          if (x->dims < 2 || x->dims > 3) x->fail("have 2 or 3 dimensions");
        int64_t batch = out.dims == 3 ? out[0] : 1;
        for (const Array* x : {&a, &b})
          if (x->dims == 3 && x->shape[0] != batch && x->shape[0] != 1)
            x->fail("have out's batch size " + std::to_string(batch) + ", or 1, or none");
        int64_t m = transpose_a ? a[-1] : a[-2], k = transpose_a ? a[-2] : a[-1];
        int64_t n = transpose_b ? b[-2] : b[-1], k_of_b = transpose_b ? b[-1] : b[-2];
        if (k != k_of_b)
          b.fail("have " + std::to_string(k) + (transpose_b ? " columns" : " rows") + " to match a's shape " +
                 a.shape_text());
        if (out[-2] != m || out[-1] != n) out.fail("end in " + std::to_string(m) + " x " + std::to_string(n));
        auto batch_stride = [](const Array& x) { return x.dims == 3 && x[0] > 1 ? x[1] * x[2] : 0; };
        run(ENTRY(matmul), out.dtype, a, b, out, batch, m, n, k, batch_stride(a), batch_stride(b), transpose_a,
            transpose_b, accumulate);
      },
      maths::matmul, "a"_a, "b"_a, "out"_a, "transpose_a"_a = false, "transpose_b"_a = false, "accumulate"_a = false);
  using namespace linear;
  py::object no_activation = m.attr("Activation").attr("none");
  m.def("linear_forward", &forward, maths::linear_forward, "x"_a, "weight"_a, "bias"_a, "out"_a,
        "activation"_a = no_activation);
  m.def("linear_backward_input", &backward_input, maths::linear_backward_input, "grad_out"_a, "weight"_a, "grad_x"_a,
        "saved"_a = py::none(), "activation"_a = no_activation);
  m.def("linear_backward_weight", &backward_weight, maths::linear_backward_weight, "grad_out"_a, "x"_a, "grad_weight"_a,
        "grad_bias"_a, "accumulate"_a = false);
  m.def("linear", &output, "linear_forward into a new array.", "x"_a, "weight"_a, "bias"_a, "activation"_a);
  m.def("linear_gradients", &gradients,
        "(grad_x, grad_weight, grad_bias) in new arrays, None for those not wanted; grad_bias only with grad_weight. "
        "Where x is the output of a relu, grad_x can be taken back through it.",
        "grad_out"_a, "x"_a, "weight"_a, "wants_x"_a, "wants_weight"_a, "wants_bias"_a, "through_relu"_a);
}

}  // namespace minidl
