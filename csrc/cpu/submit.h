// The one place where work starts on the CPU: runs the kernel without the interpreter lock.
#pragma once
#include <pybind11/pybind11.h>

#include "array.h"
#include "kernels.h"
#include "parallel.h"

namespace minidl {

// What a binding passes, turned into what the kernel takes: an Array into a checked pointer, segments into their
// first, an operand of any layout into its pointer, scalars as they are.
template <typename Parameter, typename Argument>
Parameter kernel_argument(const Argument& argument) {
  if constexpr (std::is_same_v<Argument, Array>)
    return argument.template pointer<std::remove_pointer_t<Parameter>>(true);
  else if constexpr (std::is_same_v<Argument, AnyLayout>)
    return argument.array.template pointer<std::remove_pointer_t<Parameter>>(false);
  else if constexpr (requires { argument->data(); })
    return argument->data();
  else
    return argument;
}

template <typename... Parameters, typename... Arguments>
void submit(void (*kernel)(Stream, Parameters...), const Arguments&... arguments) {
  auto run = [kernel](Parameters... parameters) {
    pybind11::gil_scoped_release unlocked;
    kernel(Stream{thread_count()}, parameters...);
  };
  run(kernel_argument<Parameters>(arguments)...);
}

}  // namespace minidl
