// Recording: whether it is on, and the node that it hangs on a result.
#pragma once
#include <pybind11/pybind11.h>

#include "fields.h"

namespace minidl {

// What the tape asks of Python. Set once, by connect(); both checks are None outside of anomaly mode.
struct Connections {
  PyTypeObject* tensor_type = nullptr;
  PyTypeObject* node_type = nullptr;
  PyObject* watch = nullptr;          // its .leaves hears of gradients that change while a step is captured
  PyObject* make_one = nullptr;       // (output) -> a gradient of 1
  PyObject* add_gradient = nullptr;   // (leaf, grad, create_graph): leaf.grad += grad
  PyObject* raise_changed = nullptr;  // (node): a tensor that it saved was changed in place
  PyObject* check_forward = nullptr;
  PyObject* check_backward = nullptr;
};
extern Connections connections;

extern thread_local bool is_recording;

// is_recording inside a scope.
class Recording {
 public:
  explicit Recording(bool is_on) : before(is_recording) { is_recording = is_on; }
  ~Recording() { is_recording = before; }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  bool before;
};

// How often the tensor's memory was changed in place.
int64_t version_of(TensorFields* tensor);
void note_change(TensorFields* tensor);

pybind11::object record(pybind11::object result, pybind11::tuple inputs, pybind11::object backward,
                        pybind11::tuple saved, bool saves_output, pybind11::object name);

}  // namespace minidl
