// The rows of functions of one array.
#pragma once
#include <memory>

#include "binding.h"

namespace minidl {

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

}  // namespace minidl
