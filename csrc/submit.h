// The one place where work starts, on every back end: starts the kernel without the interpreter lock, and records it
// where a step is being captured.
#pragma once
#include <pybind11/pybind11.h>

#include <memory>
#include <tuple>

#include "array.h"
#include "invoke.h"
#include "kernels.h"
#include "plan.h"

namespace minidl {

// What a binding passes, turned into what the kernel takes: an Array into a checked pointer, segments into their
// first, an operand of any layout into its pointer, scalars as they are.
template <typename Parameter, typename Argument>
Parameter kernel_argument(const Argument& argument) {
  if constexpr (std::is_same_v<Argument, Array>)
    return argument.template pointer<std::remove_pointer_t<Parameter>>(true);
  else if constexpr (std::is_same_v<Argument, AnyLayout>)
    return argument.array.template pointer<std::remove_pointer_t<Parameter>>(false);
  else if constexpr (requires { argument->segments; })
    return argument->segments.data();
  else
    return argument;
}

// A call whose arguments are kept: the pointers as they were, what they point to is held by the plan.
template <typename... Parameters>
struct KernelCall : Call {
  void (*kernel)(Stream, Parameters...);
  std::tuple<Parameters...> parameters;
  std::shared_ptr<void> segments;  // of an optimizer's step

  void run(Stream stream) const override {
    invoke(name, [&] { std::apply([&](Parameters... p) { kernel(stream, p...); }, parameters); });
  }
};

// An operand of a group: the parameter, its gradient and its states as rows; a matrix as its own gradient.
template <typename T>
std::vector<int64_t> operand_shape(const Segment<T>& segment) {
  int64_t rows = 2;
  for (auto* state : segment.state) rows += state != nullptr;
  return {rows, segment.size};
}
template <typename T>
std::vector<int64_t> operand_shape(const Matrix<T>& matrix) {
  return {2, matrix.rows * matrix.columns};
}

// What a plan has to know of one argument: which memory is read, which written, where a pointer stands.
template <typename Parameter>
void note_argument(Plan& plan, Call& call, const Array& array) {
  if (!array.is_given) return;
  call.operands.push_back({{array.shape, array.shape + array.dims}, array.itemsize});
  if constexpr (std::is_const_v<std::remove_pointer_t<Parameter>>) {
    plan.note_read(array);
    call.reads.push_back(extent_of(array));
  } else {
    plan.note_write(array);
    call.writes.push_back(extent_of(array));
  }
}
template <typename Parameter, typename Argument>
void note_argument(Plan& plan, Call& call, const Argument& argument) {
  if constexpr (std::is_same_v<Argument, AnyLayout>) {
    note_argument<Parameter>(plan, call, argument.array);
  } else if constexpr (requires { argument->arrays; }) {
    for (const Array& array : argument->arrays) {
      plan.note_read(array);
      plan.note_write(array);
      call.writes.push_back(extent_of(array));
    }
    for (const auto& segment : argument->segments)
      call.operands.push_back({operand_shape(segment), argument->itemsize});
  }
}

template <typename... Parameters, typename... Arguments>
void record(Plan& plan, const char* name, void (*kernel)(Stream, Parameters...),
            const std::tuple<Parameters...>& parameters, const Arguments&... arguments) {
  auto call = std::make_unique<KernelCall<Parameters...>>();
  call->name = name;
  call->kernel = kernel;
  call->parameters = parameters;
  (note_argument<Parameters>(plan, *call, arguments), ...);
  if (!plan.is_recording()) return;
  auto keep = [&](const auto& argument) {
    if constexpr (requires { argument->arrays; }) call->segments = argument;
  };
  (keep(arguments), ...);
  std::apply(
      [&](auto&... kept) {
        auto note = [&](auto& value) {
          if constexpr (std::is_pointer_v<std::remove_reference_t<decltype(value)>>)
            plan.note_address((const void**)&value);
        };
        (note(kept), ...);
      },
      call->parameters);
  plan.append(std::move(call));
}

template <typename... Parameters, typename... Arguments>
void submit(const char* name, void (*kernel)(Stream, Parameters...), const Arguments&... arguments) {
  std::tuple<Parameters...> parameters(kernel_argument<Parameters>(arguments)...);
  if (Plan* plan = plan_under_way()) record(*plan, name, kernel, parameters, arguments...);
  Stream stream = current_stream();
  pybind11::gil_scoped_release unlocked;
  invoke(name, [&] { std::apply([&](Parameters... p) { kernel(stream, p...); }, parameters); });
}

}  // namespace minidl
