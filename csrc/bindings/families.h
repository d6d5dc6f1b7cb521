// What each file of this folder defines in a module.
#pragma once
#include <pybind11/pybind11.h>

namespace minidl {

void bind_elementwise(pybind11::module_& m);
void bind_activation(pybind11::module_& m);
void bind_matmul(pybind11::module_& m);
void bind_reduction(pybind11::module_& m);
void bind_softmax(pybind11::module_& m);
void bind_loss(pybind11::module_& m);
void bind_normalization(pybind11::module_& m);
void bind_random(pybind11::module_& m);
void bind_optimizer(pybind11::module_& m);
void bind_regularization(pybind11::module_& m);
void bind_roof(pybind11::module_& m);

}  // namespace minidl
