#pragma once
#include <pybind11/pybind11.h>

namespace minidl {

// What an optimizer's kernel takes of these parameters: (arrays, gradients, one list per state, one list per counter),
// an empty list for a state without a name. None where a parameter has no such state yet, or another device or number
// type than the first.
pybind11::object step_operands(pybind11::list params, pybind11::dict state, pybind11::tuple state_names,
                               pybind11::tuple counter_names);

// Counts an in-place change of every tensor.
void note_changes(pybind11::list tensors);

}  // namespace minidl
