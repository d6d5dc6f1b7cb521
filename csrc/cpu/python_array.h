// NumPy arrays as Array, read through NumPy's own C struct: about 25 ns each, where py::array_t takes 200.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "array.h"
#include "numpy_dtype.h"

namespace minidl {

inline Array array_from_python(pybind11::handle source) {
  using namespace pybind11::detail;
  Array array;
  if (source.is_none()) return array;
  if (!npy_api::get().PyArray_Check_(source.ptr()))
    throw DTypeError(std::string("a kernel takes numpy.ndarray, got ") + Py_TYPE(source.ptr())->tp_name);
  const PyArray_Proxy* proxy = array_proxy(source.ptr());
  static_assert(sizeof(Py_intptr_t) == sizeof(int64_t));
  array.data = proxy->data;
  array.dims = proxy->nd;
  array.shape = reinterpret_cast<const int64_t*>(proxy->dimensions);
  array.strides_bytes = reinterpret_cast<const int64_t*>(proxy->strides);
  auto descriptor = pybind11::reinterpret_borrow<pybind11::dtype>(proxy->descr);
  bool is_native = descriptor.byteorder() == '=' || descriptor.byteorder() == '|';
  array.dtype = is_native ? dtype_from_type_number(descriptor.num()) : DType::other;
  array.itemsize = (int)descriptor.itemsize();
  array.is_contiguous = (proxy->flags & npy_api::NPY_ARRAY_C_CONTIGUOUS_) != 0;
  array.is_writeable = (proxy->flags & npy_api::NPY_ARRAY_WRITEABLE_) != 0;
  array.is_given = true;
  array.owner = source.ptr();
  return array;
}

// Class indices must lie in [0, classes) or equal ignore_index; the first that does not is named.
inline void require_labels(const Array& labels, int64_t classes, int64_t ignore_index) {
  const int64_t *values = labels.pointer<const int64_t>(true), size = labels.size();
  for (int64_t i = 0; i < size; ++i)
    if ((values[i] < 0 || values[i] >= classes) && values[i] != ignore_index)
      throw std::invalid_argument(std::string(labels.kernel) + "(): " + labels.name() + " must lie in 0.." +
                                  std::to_string(classes - 1) + " for " + std::to_string(classes) + " classes, got " +
                                  std::to_string(values[i]) + " at position " + std::to_string(i));
}

}  // namespace minidl

template <>
struct pybind11::detail::type_caster<minidl::Array> {
  PYBIND11_TYPE_CASTER(minidl::Array, const_name("numpy.ndarray | None"));
  bool load(handle source, bool) {
    value = minidl::array_from_python(source);
    return true;
  }
};
