// Python's view of the kernels, written once for every back end: each row checks shapes, then submits.
#include "array.h"
#include "kernels.h"
#include "memory_pool.h"
#include "python_array.h"
#include "submit.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <vector>

namespace py = pybind11;
using namespace pybind11::literals;

namespace minidl {
namespace {

// An argument that is one of an enumeration, 0 .. last; read as the whole number that Python's IntEnum is, which takes
// a tenth of the microsecond of pybind11's own conversion.
template <typename E, E last>
struct OneOf {
  E value{};
  operator E() const { return value; }
};
using ActivationArgument = OneOf<Activation, Activation::tanh>;
using ReductionArgument = OneOf<Reduction, Reduction::sum>;

}  // namespace
}  // namespace minidl

template <typename E, E last>
struct pybind11::detail::type_caster<minidl::OneOf<E, last>> {
  static constexpr auto type_name = [] {
    if constexpr (std::is_same_v<E, minidl::Activation>)
      return const_name("Activation");
    else
      return const_name("Reduction");
  }();
  using Argument = minidl::OneOf<E, last>;
  PYBIND11_TYPE_CASTER(Argument, type_name);
  bool load(handle source, bool) {
    if (!PyLong_Check(source.ptr())) return false;
    long number = PyLong_AsLong(source.ptr());
    if (number < 0 || number > (long)last) {
      PyErr_Clear();
      return false;
    }
    value.value = (E)number;
    return true;
  }
};

namespace minidl {
namespace {

// A kernel's two table entries, its name and its maths.
template <typename F, typename D>
struct Entry {
  const char* name;
  const char* maths;
  F Kernels<float>::* f32;
  D Kernels<double>::* f64;
};

namespace maths {
#define KERNEL(name, parameters, text) constexpr const char* name = text;
#include "kernels.def"
#undef KERNEL
}  // namespace maths

#define ENTRY(name) \
  Entry { #name, maths::name, &Kernels<float>::name, &Kernels<double>::name }
#define ARRAYS(kernel, ...) name_arrays(#kernel, #__VA_ARGS__, __VA_ARGS__)

template <typename F, typename D, typename... Arguments>
void run(const Entry<F, D>& entry, DType dtype, const Arguments&... arguments) {
  if (dtype == DType::float32)
    submit(entry.name, active_kernels<float>().*entry.f32, arguments...);
  else if (dtype == DType::float64)
    submit(entry.name, active_kernels<double>().*entry.f64, arguments...);
  else
    throw DTypeError(std::string(entry.name) + "(): arrays must be float32 or float64, got " + dtype_name(dtype));
}

// The strides of the operands over out's shape, with size-1 dimensions dropped and adjacent ones merged where every
// operand allows it.
template <int operands>
Strided<operands> broadcast_layout(const Array& out, const Array* const (&arrays)[operands]) {
  Strided<operands> layout{};
  int64_t strides[operands];
  for (int axis = 0; axis < out.dims; ++axis) {
    int64_t extent = out.shape[axis];
    for (int a = 0; a < operands; ++a) {
      const Array& array = *arrays[a];
      int own = axis - (out.dims - array.dims);
      bool repeats = own < 0 || array.shape[own] == 1;
      if (own >= 0 && !repeats && array.shape[own] != extent)
        array.fail("broadcast to out's shape " + out.shape_text());
      strides[a] = repeats ? 0 : array.strides_bytes[own] / array.itemsize;
      if (!repeats && array.strides_bytes[own] % array.itemsize != 0) array.fail("have strides of whole elements");
    }
    if (extent == 1) continue;
    bool merges = layout.dims > 0;
    for (int a = 0; a < operands && merges; ++a) merges = layout.strides[a][layout.dims - 1] == strides[a] * extent;
    if (!merges && layout.dims == max_dims) out.fail("have at most " + std::to_string(max_dims) + " dimensions");
    if (!merges) layout.shape[layout.dims++] = 1;
    layout.shape[layout.dims - 1] *= extent;
    for (int a = 0; a < operands; ++a) layout.strides[a][layout.dims - 1] = strides[a];
  }
  for (const Array* array : arrays) {
    require_given(*array);
    if (array->dims > out.dims) array->fail("broadcast to out's shape " + out.shape_text());
  }
  return layout;
}

int64_t product(const Array& a, int begin, int end) {
  int64_t result = 1;
  for (int axis = begin; axis < end; ++axis) result *= a.shape[axis];
  return result;
}

// How a layer sees its input: all but the last dimension are rows below each other.
struct Rows {
  int64_t rows, columns;
};
Rows rows_of(const Array& x) {
  require_given(x);
  if (x.dims == 0) x.fail("have at least 1 dimension");
  return {product(x, 0, x.dims - 1), x[-1]};
}
void require_rows(const Array& x, Rows wanted) {
  Rows rows = rows_of(x);
  if (rows.rows != wanted.rows || rows.columns != wanted.columns)
    x.fail("have " + std::to_string(wanted.rows) + " rows of " + std::to_string(wanted.columns));
}

// x seen as outer x channels x inner, the channels being axis 1 (or 0 of a vector).
struct Channels {
  int64_t outer, channels, inner;
};
Channels channels_of(const Array& x) {
  require_given(x);
  if (x.dims == 0) return {1, 1, 1};
  if (x.dims == 1) return {1, x[0], 1};
  return {x[0], x[1], product(x, 2, x.dims)};
}

// ---- families of rows with one shape

// out[i] = f(x[i]), with the scalars that follow size
template <typename F, typename D, typename... Scalars>
void define_unary(py::module_& m, Entry<F, D> entry, const Scalars&... scalar_names) {
  auto body = [entry](Array x, Array out, auto... scalars) {
    name_arrays(entry.name, "x, out", x, out);
    require_same_shape(x, out);
    run(entry, x.dtype, x, out, x.size(), scalars...);
  };
  auto define = [&]<typename... S>(void (*)(S...)) {
    m.def(
        entry.name, [body](Array x, Array out, S... scalars) { body(x, out, scalars...); }, entry.maths, "x"_a, "out"_a,
        scalar_names...);
  };
  if constexpr (sizeof...(Scalars) == 0) define((void (*)()) nullptr);
  if constexpr (sizeof...(Scalars) == 1) define((void (*)(double)) nullptr);
  if constexpr (sizeof...(Scalars) == 2) define((void (*)(double, double)) nullptr);
}

// grad_x[i] = grad_out[i] * f'(saved[i]); saved is x or out, as the row says
template <typename F, typename D, typename... Scalars>
void define_unary_backward(py::module_& m, Entry<F, D> entry, const char* saved_name, const Scalars&... scalar_names) {
  auto names = std::make_shared<std::string>(std::string(saved_name) + ", grad_out, grad_x");
  auto body = [entry, names](Array saved, Array grad_out, Array grad_x, auto... scalars) {
    name_arrays(entry.name, names->c_str(), saved, grad_out, grad_x);
    require_same_shape(saved, grad_out);
    require_same_shape(saved, grad_x);
    run(entry, saved.dtype, saved, grad_out, grad_x, saved.size(), scalars...);
  };
  auto define = [&]<typename... S>(void (*)(S...)) {
    m.def(
        entry.name,
        [body](Array saved, Array grad_out, Array grad_x, S... scalars) { body(saved, grad_out, grad_x, scalars...); },
        entry.maths, py::arg(saved_name), "grad_out"_a, "grad_x"_a, scalar_names...);
  };
  if constexpr (sizeof...(Scalars) == 0) define((void (*)()) nullptr);
  if constexpr (sizeof...(Scalars) == 1) define((void (*)(double)) nullptr);
  if constexpr (sizeof...(Scalars) == 2) define((void (*)(double, double)) nullptr);
}

template <typename F, typename D>
void define_binary(py::module_& m, Entry<F, D> entry) {
  m.def(
      entry.name,
      [entry](Array a, Array b, Array out) {
        name_arrays(entry.name, "a, b, out", a, b, out);
        require_given(out);
        auto layout = broadcast_layout<2>(out, {&a, &b});
        run(entry, out.dtype, AnyLayout{a}, AnyLayout{b}, out, layout);
      },
      entry.maths, "a"_a, "b"_a, "out"_a);
}

void bind_elementwise(py::module_& m) {
  define_unary(m, ENTRY(negative_forward));
  define_unary(m, ENTRY(absolute_forward));
  define_unary(m, ENTRY(square_forward));
  define_unary(m, ENTRY(reciprocal_forward));
  define_unary(m, ENTRY(sqrt_forward));
  define_unary(m, ENTRY(rsqrt_forward));
  define_unary(m, ENTRY(exp_forward));
  define_unary(m, ENTRY(expm1_forward));
  define_unary(m, ENTRY(log_forward));
  define_unary(m, ENTRY(log1p_forward));
  define_unary(m, ENTRY(erf_forward));
  define_unary(m, ENTRY(affine_forward), "scale"_a, "shift"_a);
  define_unary(m, ENTRY(clamp_forward), "min"_a, "max"_a);
  define_unary(m, ENTRY(add_scaled), "scale"_a);
  define_binary(m, ENTRY(add_forward));
  define_binary(m, ENTRY(subtract_forward));
  define_binary(m, ENTRY(multiply_forward));
  define_binary(m, ENTRY(divide_forward));
  define_binary(m, ENTRY(power_forward));
  define_binary(m, ENTRY(maximum_forward));
  define_binary(m, ENTRY(minimum_forward));
  m.def(
      "where_forward",
      [](Array condition, Array a, Array b, Array out) {
        ARRAYS(where_forward, condition, a, b, out);
        require_given(out);
        auto layout = broadcast_layout<3>(out, {&condition, &a, &b});
        run(ENTRY(where_forward), out.dtype, AnyLayout{condition}, AnyLayout{a}, AnyLayout{b}, out, layout);
      },
      maths::where_forward, "condition"_a, "a"_a, "b"_a, "out"_a);
  m.def(
      "fill",
      [](Array out, double value) {
        ARRAYS(fill, out);
        require_given(out);
        run(ENTRY(fill), out.dtype, out, out.size(), value);
      },
      maths::fill, "out"_a, "value"_a);
  m.def(
      "copy_strided",
      [](Array x, Array out) {
        ARRAYS(copy_strided, x, out);
        require_given(out);
        auto layout = broadcast_layout<1>(out, {&x});
        run(ENTRY(copy_strided), out.dtype, AnyLayout{x}, out, layout);
      },
      maths::copy_strided, "x"_a, "out"_a);
  m.def(
      "transpose",
      [](Array x, Array out) {
        ARRAYS(transpose, x, out);
        require_given(x);
        if (x.dims < 2) x.fail("have at least 2 dimensions");
        require_dims(out, x.dims);
        int64_t batch = product(x, 0, x.dims - 2);
        if (product(out, 0, out.dims - 2) != batch || out[-2] != x[-1] || out[-1] != x[-2])
          out.fail("have x's shape " + x.shape_text() + " with the last two exchanged");
        run(ENTRY(transpose), x.dtype, x, out, batch, x[-2], x[-1]);
      },
      maths::transpose, "x"_a, "out"_a);
  m.def(
      "gather_rows",
      [](Array x, Array index, Array out) {
        ARRAYS(gather_rows, x, index, out);
        require_dims(x, 2);
        require_dims(index, 1);
        require_shape(out, {index[0], x[1]});
        run(ENTRY(gather_rows), out.dtype, x, index, out, index[0], x[0], x[1]);
      },
      maths::gather_rows, "x"_a, "index"_a, "out"_a);
  m.def(
      "gather_rows_uint8",
      [](Array x, Array index, Array out, double scale, double shift) {
        ARRAYS(gather_rows_uint8, x, index, out);
        require_dims(x, 2);
        require_dims(index, 1);
        require_shape(out, {index[0], x[1]});
        run(ENTRY(gather_rows_uint8), out.dtype, x, index, out, index[0], x[0], x[1], scale, shift);
      },
      maths::gather_rows_uint8, "x"_a, "index"_a, "out"_a, "scale"_a, "shift"_a);
  m.def(
      "gather_labels",
      [](Array x, Array index, Array out) {
        ARRAYS(gather_labels, x, index, out);
        require_dims(x, 1);
        require_dims(index, 1);
        require_same_shape(index, out);
        run(ENTRY(gather_labels), DType::float32, x, index, out, index[0], x[0]);
      },
      maths::gather_labels, "x"_a, "index"_a, "out"_a);
  m.def(
      "count_up",
      [](Array out) {
        ARRAYS(count_up, out);
        require_size(out, 1);
        run(ENTRY(count_up), DType::float32, out);
      },
      maths::count_up, "out"_a);
}

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

// Reductions see x as outer x reduced x inner: three dimensions, or fewer with the missing ones 1.
struct Reduced {
  int64_t outer, reduced, inner;
};
Reduced reduced_of(const Array& x) {
  require_dims(x, 3);
  return {x[0], x[1], x[2]};
}

void bind_reduction(py::module_& m) {
  m.def(
      "sum_forward",
      [](Array x, Array out, double divisor) {
        ARRAYS(sum_forward, x, out);
        Reduced r = reduced_of(x);
        require_size(out, r.outer * r.inner);
        run(ENTRY(sum_forward), x.dtype, x, out, r.outer, r.reduced, r.inner, divisor);
      },
      maths::sum_forward, "x"_a, "out"_a, "divisor"_a = 1.0);
  auto define_extreme = [&m](auto entry) {
    m.def(
        entry.name,
        [entry](Array x, Array out, Array index) {
          name_arrays(entry.name, "x, out, index", x, out, index);
          Reduced r = reduced_of(x);
          if (r.reduced == 0 && r.outer * r.inner > 0) x.fail("have at least 1 element to reduce");
          if (out.is_given) require_size(out, r.outer * r.inner);
          if (index.is_given) require_size(index, r.outer * r.inner);
          run(entry, x.dtype, x, out, index, r.outer, r.reduced, r.inner);
        },
        entry.maths, "x"_a, "out"_a, "index"_a = py::none());
  };
  define_extreme(ENTRY(max_forward));
  define_extreme(ENTRY(min_forward));
  m.def(
      "var_forward",
      [](Array x, Array mean, Array out, double correction) {
        ARRAYS(var_forward, x, mean, out);
        Reduced r = reduced_of(x);
        if (mean.is_given) require_size(mean, r.outer * r.inner);
        require_size(out, r.outer * r.inner);
        run(ENTRY(var_forward), x.dtype, x, mean, out, r.outer, r.reduced, r.inner, correction);
      },
      maths::var_forward, "x"_a, "mean"_a, "out"_a, "correction"_a = 1.0);
}

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

// What a loss of class labels takes.
void require_loss_of_labels(const Array& x, const Array& labels, const Array& class_weight, const Array& loss,
                            const Array& grad_x, int64_t ignore_index, Reduction reduction) {
  require_dims(x, 2);
  require_given(labels);
  require_shape(labels, {x[0]});
  require_shape(class_weight, {x[1]});
  require_size(loss, reduction == Reduction::none ? x[0] : 1);
  if (grad_x.is_given) require_same_shape(x, grad_x);
  require_labels(labels, x[1], ignore_index);
}

void bind_loss(py::module_& m) {
  m.def(
      "cross_entropy_forward",
      [](Array logits, Array labels, Array class_weight, Array loss, Array grad_logits, int64_t ignore_index,
         double label_smoothing, ReductionArgument reduction) {
        ARRAYS(cross_entropy_forward, logits, labels, class_weight, loss, grad_logits);
        require_loss_of_labels(logits, labels, class_weight, loss, grad_logits, ignore_index, reduction);
        run(ENTRY(cross_entropy_forward), logits.dtype, logits, labels, class_weight, loss, grad_logits, logits[0],
            logits[1], ignore_index, label_smoothing, reduction);
      },
      maths::cross_entropy_forward, "logits"_a, "labels"_a, "class_weight"_a, "loss"_a, "grad_logits"_a,
      "ignore_index"_a = -100, "label_smoothing"_a = 0.0, "reduction"_a = m.attr("Reduction").attr("mean"));
  m.def(
      "nll_forward",
      [](Array log_probs, Array labels, Array class_weight, Array loss, Array grad_log_probs, int64_t ignore_index,
         ReductionArgument reduction) {
        ARRAYS(nll_forward, log_probs, labels, class_weight, loss, grad_log_probs);
        require_loss_of_labels(log_probs, labels, class_weight, loss, grad_log_probs, ignore_index, reduction);
        run(ENTRY(nll_forward), log_probs.dtype, log_probs, labels, class_weight, loss, grad_log_probs, log_probs[0],
            log_probs[1], ignore_index, reduction);
      },
      maths::nll_forward, "log_probs"_a, "labels"_a, "class_weight"_a, "loss"_a, "grad_log_probs"_a,
      "ignore_index"_a = -100, "reduction"_a = m.attr("Reduction").attr("mean"));
  m.def(
      "count_correct",
      [](Array logits, Array labels, Array out) {
        ARRAYS(count_correct, logits, labels, out);
        require_dims(logits, 2);
        require_given(labels);
        require_shape(labels, {logits[0]});
        require_size(out, 1);
        run(ENTRY(count_correct), logits.dtype, logits, labels, out, logits[0], logits[1]);
      },
      maths::count_correct, "logits"_a, "labels"_a, "out"_a);
  m.def(
      "append_result",
      [](Array loss, Array correct, Array log) {
        ARRAYS(append_result, loss, correct, log);
        require_size(loss, 1);
        if (correct.is_given) require_size(correct, 1);
        require_dims(log, 1);
        if (log[0] < 3 || log[0] % 2 == 0) log.fail("have 1 + 2 * rows elements");
        run(ENTRY(append_result), loss.dtype, loss, correct, log, log[0] / 2);
      },
      maths::append_result, "loss"_a, "correct"_a, "log"_a);
  auto define_forward = [&m](auto entry, const char* x_name, auto... scalar_name) {
    auto names = std::make_shared<std::string>(std::string(x_name) + ", target, loss");
    auto body = [entry, names](Array x, Array target, Array loss, ReductionArgument reduction, auto... scalar) {
      name_arrays(entry.name, names->c_str(), x, target, loss);
      require_same_shape(x, target);
      require_size(loss, reduction == Reduction::none ? x.size() : 1);
      run(entry, x.dtype, x, target, loss, x.size(), reduction, scalar...);
    };
    if constexpr (sizeof...(scalar_name) == 0)
      m.def(
          entry.name, [body](Array x, Array target, Array loss, ReductionArgument r) { body(x, target, loss, r); },
          entry.maths, py::arg(x_name), "target"_a, "loss"_a, "reduction"_a);
    else
      m.def(
          entry.name,
          [body](Array x, Array target, Array loss, ReductionArgument r, double scalar) {
            body(x, target, loss, r, scalar);
          },
          entry.maths, py::arg(x_name), "target"_a, "loss"_a, "reduction"_a, scalar_name...);
  };
  auto define_backward = [&m](auto entry, const char* x_name, auto... scalar_name) {
    auto names = std::make_shared<std::string>(std::string(x_name) + ", target, grad_out, grad_" + x_name);
    auto body = [entry, names](Array x, Array target, Array grad_out, Array grad_x, ReductionArgument reduction,
                               auto... scalar) {
      name_arrays(entry.name, names->c_str(), x, target, grad_out, grad_x);
      require_same_shape(x, target);
      require_size(grad_out, reduction == Reduction::none ? x.size() : 1);
      require_same_shape(x, grad_x);
      run(entry, x.dtype, x, target, grad_out, grad_x, x.size(), reduction, scalar...);
    };
    if constexpr (sizeof...(scalar_name) == 0)
      m.def(
          entry.name,
          [body](Array x, Array target, Array g, Array grad_x, ReductionArgument r) { body(x, target, g, grad_x, r); },
          entry.maths, py::arg(x_name), "target"_a, "grad_out"_a, "grad_x"_a, "reduction"_a);
    else
      m.def(
          entry.name,
          [body](Array x, Array target, Array g, Array grad_x, ReductionArgument r, double scalar) {
            body(x, target, g, grad_x, r, scalar);
          },
          entry.maths, py::arg(x_name), "target"_a, "grad_out"_a, "grad_x"_a, "reduction"_a, scalar_name...);
  };
  define_forward(ENTRY(bce_forward), "probs");
  define_backward(ENTRY(bce_backward), "probs");
  define_forward(ENTRY(bce_with_logits_forward), "logits");
  define_backward(ENTRY(bce_with_logits_backward), "logits");
  define_forward(ENTRY(mse_forward), "x");
  define_backward(ENTRY(mse_backward), "x");
  define_forward(ENTRY(l1_forward), "x");
  define_backward(ENTRY(l1_backward), "x");
  define_forward(ENTRY(smooth_l1_forward), "x", "beta"_a);
  define_backward(ENTRY(smooth_l1_backward), "x", "beta"_a);
  define_forward(ENTRY(huber_forward), "x", "delta"_a);
  define_backward(ENTRY(huber_backward), "x", "delta"_a);
}

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

void bind_random(py::module_& m) {
  m.def(
      "take_ticket",
      [](Array generator, Array ticket) {
        ARRAYS(take_ticket, generator, ticket);
        require_size(generator, 2);
        require_size(ticket, 2);
        run(ENTRY(take_ticket), DType::float32, generator, ticket);
      },
      maths::take_ticket, "generator"_a, "ticket"_a);
  auto define_integers = [&m](auto entry) {
    m.def(
        entry.name,
        [entry](Array ticket, Array out) {
          name_arrays(entry.name, "ticket, out", ticket, out);
          require_size(ticket, 2);
          require_given(out);
          run(entry, DType::float32, ticket, out, out.size());
        },
        entry.maths, "ticket"_a, "out"_a);
  };
  define_integers(ENTRY(random_bits));
  define_integers(ENTRY(permutation));
  m.def(
      "randint",
      [](Array ticket, Array out, int64_t low, int64_t high) {
        ARRAYS(randint, ticket, out);
        require_size(ticket, 2);
        require_given(out);
        if (low >= high) throw std::invalid_argument("randint(): low must be below high");
        run(ENTRY(randint), DType::float32, ticket, out, out.size(), low, high);
      },
      maths::randint, "ticket"_a, "out"_a, "low"_a, "high"_a);
  auto define_fill = [&m](auto entry, auto first_name, auto second_name) {
    m.def(
        entry.name,
        [entry](Array ticket, Array out, double first, double second) {
          name_arrays(entry.name, "ticket, out", ticket, out);
          require_size(ticket, 2);
          require_given(out);
          run(entry, out.dtype, ticket, out, out.size(), first, second);
        },
        entry.maths, "ticket"_a, "out"_a, first_name, second_name);
  };
  define_fill(ENTRY(uniform), "low"_a, "high"_a);
  define_fill(ENTRY(normal), "mean"_a, "std"_a);
  m.def(
      "bernoulli",
      [](Array ticket, Array out, double p) {
        ARRAYS(bernoulli, ticket, out);
        require_size(ticket, 2);
        require_given(out);
        run(ENTRY(bernoulli), out.dtype, ticket, out, out.size(), p);
      },
      maths::bernoulli, "ticket"_a, "out"_a, "p"_a);
  m.def(
      "dropout_forward",
      [](Array x, Array ticket, Array out, double p) {
        ARRAYS(dropout_forward, x, ticket, out);
        require_size(ticket, 2);
        require_same_shape(x, out);
        run(ENTRY(dropout_forward), x.dtype, x, ticket, out, x.size(), p);
      },
      maths::dropout_forward, "x"_a, "ticket"_a, "out"_a, "p"_a);
}

using Arrays = std::vector<Array>;

// A group's segments, and the arrays that they lie in.
template <typename T>
struct Segments {
  std::vector<Segment<T>> segments;
  Arrays arrays;
  int64_t itemsize = sizeof(T);

  T* pointer(const Array& array) {
    arrays.push_back(array);
    return array.pointer<T>(true);
  }
  double* counter(const Array& array) {
    arrays.push_back(array);
    return array.pointer<double>(true);
  }
};

// What the kernels of a group take: one list per role, with one array per parameter. A list of states or counters may
// be empty: not kept.
struct Group {
  const char* kernel;
  Arrays params, grads;
  std::vector<Arrays> states, counters;

  void require_lengths() const {
    auto require = [this](const Arrays& list, const char* what) {
      if (list.size() != grads.size())
        throw std::invalid_argument(std::string(kernel) + "(): " + what + " must have " + std::to_string(grads.size()) +
                                    " arrays like grads, got " + std::to_string(list.size()));
    };
    require(params, "params");
    for (const Arrays& list : states)
      if (!list.empty()) require(list, "each list of states");
    for (const Arrays& list : counters)
      if (!list.empty()) require(list, "each list of counters");
  }

  // Parameters whose gradient is None are left out.
  template <typename T>
  std::shared_ptr<Segments<T>> segments() {
    require_lengths();
    auto result = std::make_shared<Segments<T>>();
    for (size_t i = 0; i < params.size(); ++i) {
      Array &param = params[i], &grad = grads[i];
      name_arrays(kernel, "param, grad", param, grad);
      if (!grad.is_given) continue;
      require_same_shape(param, grad);
      Segment<T> segment{result->pointer(param), result->pointer(grad), {}, {}, param.size()};
      for (size_t s = 0; s < states.size(); ++s) {
        if (states[s].empty()) continue;
        name_arrays(kernel, "param, state", param, states[s][i]);
        require_same_shape(param, states[s][i]);
        segment.state[s] = result->pointer(states[s][i]);
      }
      for (size_t c = 0; c < counters.size(); ++c) {
        if (counters[c].empty()) continue;
        name_arrays(kernel, "counter", counters[c][i]);
        require_size(counters[c][i], 1);
        segment.counters[c] = result->counter(counters[c][i]);
      }
      result->segments.push_back(segment);
    }
    return result;
  }
};

// Every parameter of the group has the dtype of the first.
template <typename F, typename D, typename... Arguments>
void run_segments(const Entry<F, D>& entry, Group& group, const Arguments&... arguments) {
  auto submit_segments = [&](auto kernel, const auto& segments) {
    submit(entry.name, kernel, segments, (int64_t)segments->segments.size(), arguments...);
  };
  if (!group.params.empty() && group.params[0].dtype == DType::float64)
    submit_segments(active_kernels<double>().*entry.f64, group.segments<double>());
  else
    submit_segments(active_kernels<float>().*entry.f32, group.segments<float>());
}

template <typename... Types>
struct Scalars {};

// How many lists of arrays a step takes, the first `required` of which must not be empty.
struct Lists {
  size_t count, required;

  void require(const char* kernel, const char* what, const std::vector<Arrays>& lists) const {
    if (lists.size() != count)
      throw std::invalid_argument(std::string(kernel) + "(): " + what + " must hold " + std::to_string(count) +
                                  (count == 1 ? " list" : " lists") + " of arrays, got " +
                                  std::to_string(lists.size()));
    for (size_t i = 0; i < required; ++i)
      if (lists[i].empty())
        throw std::invalid_argument(std::string(kernel) + "(): list " + std::to_string(i) + " of " + what +
                                    " must not be empty");
  }
};

// name(params, grads, states, counters, schedule, scalars...)
template <typename F, typename D, typename... Types, typename... Names>
void define_step(py::module_& m, Entry<F, D> entry, Lists state_lists, Lists counter_lists, Scalars<Types...>,
                 const Names&... names) {
  m.def(
      entry.name,
      [=](Arrays params, Arrays grads, std::vector<Arrays> states, std::vector<Arrays> counters, Array schedule,
          Types... scalars) {
        name_arrays(entry.name, "schedule", schedule);
        require_size(schedule, 3);
        if (params.empty() && grads.empty()) return;
        state_lists.require(entry.name, "states", states);
        counter_lists.require(entry.name, "counters", counters);
        Group group{entry.name, std::move(params), std::move(grads), std::move(states), std::move(counters)};
        run_segments(entry, group, schedule, scalars...);
      },
      entry.maths, "params"_a, "grads"_a, "states"_a, "counters"_a, "schedule"_a, names...);
}

void bind_optimizer(py::module_& m) {
  using D = double;
  using B = bool;
  define_step(m, ENTRY(sgd_step), Lists{1, 0}, Lists{1, 0}, Scalars<D, B, B>(), "dampening"_a, "nesterov"_a,
              "maximize"_a);
  define_step(m, ENTRY(adam_step), Lists{3, 2}, Lists{1, 1}, Scalars<D, D, B, B>(), "beta2"_a, "eps"_a, "decoupled"_a,
              "maximize"_a);
  define_step(m, ENTRY(adagrad_step), Lists{1, 1}, Lists{1, 1}, Scalars<D, D, B>(), "lr_decay"_a, "eps"_a,
              "maximize"_a);
  define_step(m, ENTRY(rmsprop_step), Lists{3, 1}, Lists{1, 0}, Scalars<D, D, B>(), "alpha"_a, "eps"_a, "maximize"_a);
  define_step(m, ENTRY(adadelta_step), Lists{2, 2}, Lists{1, 0}, Scalars<D, D, B>(), "rho"_a, "eps"_a, "maximize"_a);
  define_step(m, ENTRY(adamax_step), Lists{2, 2}, Lists{1, 1}, Scalars<D, D, B>(), "beta2"_a, "eps"_a, "maximize"_a);
  define_step(m, ENTRY(nadam_step), Lists{2, 2}, Lists{2, 2}, Scalars<D, D, D, B, B>(), "beta2"_a, "eps"_a,
              "momentum_decay"_a, "decoupled"_a, "maximize"_a);
  define_step(m, ENTRY(radam_step), Lists{2, 2}, Lists{1, 1}, Scalars<D, D, B, B>(), "beta2"_a, "eps"_a, "decoupled"_a,
              "maximize"_a);
  m.def(
      "squared_norm",
      [](Arrays grads, Array out) {
        name_arrays("squared_norm", "out", out);
        require_size(out, 1);
        Group group{"squared_norm", grads, grads, {}, {}};
        run_segments(ENTRY(squared_norm), group, out);
      },
      maths::squared_norm, "grads"_a, "out"_a);
  m.def(
      "scale_gradients",
      [](Arrays grads, Array squared_norm, double max_norm) {
        name_arrays("scale_gradients", "squared_norm", squared_norm);
        require_size(squared_norm, 1);
        Group group{"scale_gradients", grads, grads, {}, {}};
        run_segments(ENTRY(scale_gradients), group, squared_norm, max_norm);
      },
      maths::scale_gradients, "grads"_a, "squared_norm"_a, "max_norm"_a);
}

// Weights that a kernel sees as matrices: the first dimension is the rows, the others the columns.
template <typename T>
struct Matrices {
  std::vector<Matrix<T>> segments;
  Arrays arrays;
  int64_t itemsize = sizeof(T);

  Matrices(const char* kernel, Arrays weights) : arrays(std::move(weights)) {
    for (Array& weight : arrays) {
      name_arrays(kernel, "weight", weight);
      require_given(weight);
      if (weight.dims < 2) weight.fail("have at least 2 dimensions");
      const int64_t rows = weight[0];
      segments.push_back({weight.pointer<T>(true), rows, rows > 0 ? weight.size() / rows : 0});
    }
  }
};

void bind_regularization(py::module_& m) {
  m.def(
      "soft_threshold",
      [](Arrays params, Array schedule, double l1_decay) {
        name_arrays("soft_threshold", "schedule", schedule);
        require_size(schedule, 3);
        Group group{"soft_threshold", params, params, {}, {}};
        run_segments(ENTRY(soft_threshold), group, schedule, l1_decay);
      },
      maths::soft_threshold, "params"_a, "schedule"_a, "l1_decay"_a);
  m.def(
      "limit_row_norms",
      [](Arrays weights, double max_norm) {
        constexpr const char* name = "limit_row_norms";
        const int64_t count = (int64_t)weights.size();
        if (count > 0 && weights[0].dtype == DType::float64)
          submit(name, active_kernels<double>().limit_row_norms,
                 std::make_shared<Matrices<double>>(name, std::move(weights)), count, max_norm);
        else
          submit(name, active_kernels<float>().limit_row_norms,
                 std::make_shared<Matrices<float>>(name, std::move(weights)), count, max_norm);
      },
      maths::limit_row_norms, "weights"_a, "max_norm"_a);
}

void bind_roof(py::module_& m) {
  define_unary(m, ENTRY(multiply_add), "factor"_a, "term"_a);
  m.def(
      "triad",
      [](Array a, Array b, Array out, double factor, bool bypass_cache) {
        ARRAYS(triad, a, b, out);
        require_same_shape(a, b);
        require_same_shape(a, out);
        run(ENTRY(triad), a.dtype, a, b, out, a.size(), factor, bypass_cache);
      },
      maths::triad, "a"_a, "b"_a, "out"_a, "factor"_a, "bypass_cache"_a = false);
}

// Python's own enumerations: pybind11 knows one per C++ type and process, and every back end's module has these.
void bind_kinds(py::module_& m) {
  py::module_ kinds = py::module_::import("minidl.kinds");
  auto require = [](py::object kind, std::initializer_list<const char*> members) {
    int value = 0;
    for (const char* member : members)
      if (kind.attr(member).cast<int>() != value++) throw std::logic_error("minidl.kinds and kernels.h differ");
  };
  require(kinds.attr("Activation"), {"none", "relu", "sigmoid", "tanh"});
  require(kinds.attr("Reduction"), {"none", "mean", "sum"});
  m.attr("Activation") = kinds.attr("Activation");
  m.attr("Reduction") = kinds.attr("Reduction");
}

}  // namespace

void bind_kernels(py::module_& m) {
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const DTypeError& e) {
      PyErr_SetString(PyExc_TypeError, e.what());
    } catch (const NotFiniteError& e) {
      PyErr_SetString(PyExc_FloatingPointError, e.what());
    }
  });
  py::list names;
#define KERNEL(name, parameters, maths) names.append(#name);
#include "kernels.def"
#undef KERNEL
  m.attr("kernel_names") = py::tuple(names);
  bind_kinds(m);
  bind_elementwise(m);
  bind_activation(m);
  bind_matmul(m);
  bind_reduction(m);
  bind_softmax(m);
  bind_loss(m);
  bind_normalization(m);
  bind_random(m);
  bind_optimizer(m);
  bind_regularization(m);
  bind_roof(m);
}

}  // namespace minidl
