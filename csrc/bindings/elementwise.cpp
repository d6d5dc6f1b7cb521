// Arithmetic and functions element by element, copies and gathering of rows.
#include "families.h"
#include "unary.h"

namespace minidl {
namespace {

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

}  // namespace

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

}  // namespace minidl
