#include "record.h"

namespace py = pybind11;

namespace minidl {

Connections connections;
thread_local bool is_recording = true;

namespace {

// In the order of recording, which is a topological order: a node's inputs always have smaller numbers.
int64_t next_sequence = 0;

// The counter of the tensor's memory; made where there is none yet.
PyObject* version_counter(TensorFields* tensor) {
  if (!is_set(tensor->version)) {
    py::list counter(1);
    counter[0] = py::int_(0);
    assign(tensor->version, counter.ptr());
  }
  return tensor->version;
}

py::list with_versions(const py::tuple& saved) {
  py::list pairs;
  for (py::handle x : saved)
    if (!x.is_none()) pairs.append(py::make_tuple(x, version_of(require_tensor(x, "record: what is saved"))));
  return pairs;
}

}  // namespace

int64_t version_of(TensorFields* tensor) {
  if (!is_set(tensor->version)) return 0;
  PyObject* count = PyList_GetItem(tensor->version, 0);
  if (count == nullptr) throw py::error_already_set();
  return PyLong_AsLongLong(count);
}

void note_change(TensorFields* tensor) {
  int64_t count = version_of(tensor) + 1;
  py::list counter = py::reinterpret_borrow<py::list>(version_counter(tensor));
  counter[0] = py::int_(count);
}

py::object record(py::object result, py::tuple inputs, py::object backward, py::tuple saved, bool saves_output,
                  py::object name) {
  if (!is_recording) return result;
  bool is_wanted = false;
  for (py::handle x : inputs)
    is_wanted = is_wanted || (!x.is_none() && require_tensor(x, "record: an input")->requires_grad);
  if (!is_wanted) return result;

  py::tuple edges(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    PyObject* x = inputs[i].ptr();
    TensorFields* tensor = as_tensor(x);
    bool leads_on = tensor != nullptr && tensor->requires_grad;
    PyObject* edge = !leads_on ? Py_None : is_set(tensor->node) ? tensor->node : x;
    PyTuple_SET_ITEM(edges.ptr(), (py::ssize_t)i, Py_NewRef(edge));
  }
  auto* node = new_object<NodeFields>(connections.node_type);
  auto holder = py::reinterpret_steal<py::object>((PyObject*)node);
  node->backward = backward.release().ptr();
  node->edges = edges.release().ptr();
  node->name = name.release().ptr();
  node->sequence = next_sequence++;
  node->saved = saved.empty() ? PyTuple_New(0) : with_versions(saved).release().ptr();
  TensorFields* output = require_tensor(result, "record: the result");
  if (saves_output) {
    PyObject* counter = version_counter(output);
    node->output =
        py::make_tuple(py::handle(output->array), py::handle(output->backend), py::handle(counter), version_of(output))
            .release()
            .ptr();
  }
  output->requires_grad = true;
  assign(output->node, holder.ptr());
  if (connections.check_forward != nullptr) py::handle(connections.check_forward)(holder, result, inputs);
  return result;
}

}  // namespace minidl
