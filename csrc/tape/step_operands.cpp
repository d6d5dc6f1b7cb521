#include "step_operands.h"

#include "fields.h"
#include "record.h"

namespace py = pybind11;

namespace minidl {
py::object step_operands(py::list params, py::dict state, py::tuple state_names, py::tuple counter_names) {
  py::list arrays, grads, states, counters;
  for (size_t i = 0; i < state_names.size(); ++i) states.append(py::list());
  for (size_t i = 0; i < counter_names.size(); ++i) counters.append(py::list());
  // Whether the parameter's arrays of these names are all there; they are appended to the lists of their names.
  auto take = [](PyObject* kept, const py::tuple& names, const py::list& lists) {
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i].is_none()) continue;
      PyObject* tensor = kept == nullptr ? nullptr : PyDict_GetItemWithError(kept, names[i].ptr());
      if (tensor == nullptr) {
        if (PyErr_Occurred()) throw py::error_already_set();
        return false;
      }
      py::list(lists[i]).append(py::handle(require_tensor(tensor, "a state of the optimizer")->array));
    }
    return true;
  };
  PyObject* backend = nullptr;
  py::object dtype;
  for (py::handle param : params) {
    TensorFields* tensor = require_tensor(param, "a parameter");
    py::object own_dtype = py::handle(tensor->array).attr("dtype");
    if (backend == nullptr) {
      backend = tensor->backend;
      dtype = own_dtype;
    }
    if (tensor->backend != backend || (!own_dtype.is(dtype) && !own_dtype.equal(dtype))) return py::none();
    arrays.append(py::handle(tensor->array));
    grads.append(py::handle(require_tensor(tensor->grad, "the gradient of a parameter")->array));
    PyObject* kept = PyDict_GetItemWithError(state.ptr(), param.ptr());
    if (kept == nullptr && PyErr_Occurred()) throw py::error_already_set();
    if (!take(kept, state_names, states) || !take(kept, counter_names, counters)) return py::none();
  }
  return py::make_tuple(arrays, grads, states, counters);
}

void note_changes(py::list tensors) {
  for (py::handle x : tensors) note_change(require_tensor(x, "what was changed"));
}

}  // namespace minidl
