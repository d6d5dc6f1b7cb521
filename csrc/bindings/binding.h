// What the rows of all families share: a kernel's two table entries, its maths and its submission, and how it sees
// arrays.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "array.h"
#include "kernels.h"
#include "python_array.h"
#include "submit.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace minidl {

// An argument that is one of an enumeration, 0 .. last; read as the whole number that Python's IntEnum is, which takes
// a tenth of the microsecond of pybind11's own conversion.
template <typename E, E last>
struct OneOf {
  E value{};
  operator E() const { return value; }
};
using ActivationArgument = OneOf<Activation, Activation::tanh>;
using ReductionArgument = OneOf<Reduction, Reduction::sum>;

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
inline void run(const Entry<F, D>& entry, DType dtype, const Arguments&... arguments) {
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

inline int64_t product(const Array& a, int begin, int end) {
  int64_t result = 1;
  for (int axis = begin; axis < end; ++axis) result *= a.shape[axis];
  return result;
}

// How a layer sees its input: all but the last dimension are rows below each other.
struct Rows {
  int64_t rows, columns;
};
inline Rows rows_of(const Array& x) {
  require_given(x);
  if (x.dims == 0) x.fail("have at least 1 dimension");
  return {product(x, 0, x.dims - 1), x[-1]};
}
inline void require_rows(const Array& x, Rows wanted) {
  Rows rows = rows_of(x);
  if (rows.rows != wanted.rows || rows.columns != wanted.columns)
    x.fail("have " + std::to_string(wanted.rows) + " rows of " + std::to_string(wanted.columns));
}

// x seen as outer x channels x inner, the channels being axis 1 (or 0 of a vector).
struct Channels {
  int64_t outer, channels, inner;
};
inline Channels channels_of(const Array& x) {
  require_given(x);
  if (x.dims == 0) return {1, 1, 1};
  if (x.dims == 1) return {1, x[0], 1};
  return {x[0], x[1], product(x, 2, x.dims)};
}

}  // namespace minidl
