// NumPy's type numbers, which CuPy's arrays have as well, as DType.
#pragma once
#include <pybind11/numpy.h>

#include "array.h"

namespace minidl {

inline DType dtype_from_type_number(int type_number) {
  switch (type_number) {
    case pybind11::detail::npy_api::NPY_FLOAT_:
      return DType::float32;
    case pybind11::detail::npy_api::NPY_DOUBLE_:
      return DType::float64;
    case pybind11::detail::npy_api::NPY_LONG_:
    case pybind11::detail::npy_api::NPY_LONGLONG_:
      return DType::int64;
    case pybind11::detail::npy_api::NPY_UBYTE_:
      return DType::uint8;
    case pybind11::detail::npy_api::NPY_BOOL_:
      return DType::boolean;
    default:
      return DType::other;
  }
}

}  // namespace minidl
