// minidl._tape: the fields of tensors and nodes, and what happens at every operation and every step: recording, the
// walk back, and gathering what an optimizer's kernel takes. Everything else about the tape is Python (autograd.py).
#include <pybind11/pybind11.h>

#include "backward.h"
#include "fields.h"
#include "record.h"
#include "step_operands.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace minidl {
namespace {

// Kept until the process ends: tensors may live on while modules are torn down.
PyObject* kept(py::handle object) { return object.is_none() ? nullptr : object.inc_ref().ptr(); }

PyTypeObject* derived_type(py::handle type, PyTypeObject* base) {
  if (!PyType_Check(type.ptr()) || !PyType_IsSubtype((PyTypeObject*)type.ptr(), base))
    throw py::type_error(std::string("connect: a type derived from ") + base->tp_name + " is wanted");
  return (PyTypeObject*)kept(type);
}

}  // namespace

PYBIND11_MODULE(_tape, m) {
  m.doc() = "The tape of minidl.autograd, as far as it is compiled.";
  m.attr("TensorFields") = py::handle((PyObject*)tensor_base());
  m.attr("NodeFields") = py::handle((PyObject*)node_base());
  m.def(
      "connect_tensor", [](py::handle type) { connections.tensor_type = derived_type(type, tensor_base()); },
      "Makes the tensors that the walk back hands to backward of this type.", "type"_a);
  m.def(
      "connect",
      [](py::handle node_type, py::handle watch, py::handle make_one, py::handle add_gradient,
         py::handle raise_changed) {
        connections.node_type = derived_type(node_type, node_base());
        connections.watch = kept(watch);
        connections.make_one = kept(make_one);
        connections.add_gradient = kept(add_gradient);
        connections.raise_changed = kept(raise_changed);
      },
      "Says what the tape asks of Python; csrc/tape/record.h lists it.", "node_type"_a, "watch"_a, "make_one"_a,
      "add_gradient"_a, "raise_changed"_a);
  m.def(
      "set_checks",
      [](py::handle forward, py::handle backward) {
        Py_XDECREF(std::exchange(connections.check_forward, kept(forward)));
        Py_XDECREF(std::exchange(connections.check_backward, kept(backward)));
      },
      "Has forward(node, result, inputs) called at every recording and backward(node, grad_out, grads) at every node "
      "on "
      "the way back; None for neither.",
      "forward"_a, "backward"_a);
  m.def("is_grad_enabled", [] { return is_recording; }, "Whether operations are recorded in this thread.");
  m.def(
      "set_recording", [](bool is_on) { return std::exchange(is_recording, is_on); },
      "Switches recording on or off in this thread; returns what it was.", "is_on"_a);
  m.def("record", &record,
        "Makes result remember how it came about, if recording is on and an input wants a gradient; returns result.",
        "result"_a, "inputs"_a, "backward"_a, "saved"_a = py::tuple(), "saves_output"_a = false, "name"_a = "");
  m.def("run_backward", &run_backward,
        "Walks back from outputs; None as the gradient of one stands for a 1. Without targets leaves receive their "
        "gradients in .grad; with targets only their gradients are returned, in order.",
        "outputs"_a, "grad_outputs"_a, "targets"_a, "retain_graph"_a, "create_graph"_a);
  m.def("step_operands", &step_operands,
        "What an optimizer's kernel takes of these parameters: (arrays, gradients, a list per state, a list per "
        "counter); None where a parameter has no such state yet, or another device or number type than the first.",
        "params"_a, "state"_a, "state_names"_a, "counter_names"_a);
  m.def("note_changes", &note_changes, "Counts an in-place change of every tensor.", "tensors"_a);
}

}  // namespace minidl
