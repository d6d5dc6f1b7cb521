#pragma once
#include <pybind11/pybind11.h>

namespace minidl {

// Walks back from `outputs`; None as the gradient of one stands for a 1. Without targets (None), leaves receive their
// gradients in .grad; with targets, a tuple of tensors, only their gradients are returned, in order, None where there
// is none.
pybind11::list run_backward(pybind11::tuple outputs, pybind11::tuple grad_outputs, pybind11::object targets,
                            bool retain_graph, bool create_graph);

}  // namespace minidl
