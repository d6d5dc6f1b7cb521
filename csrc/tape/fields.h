// What a tensor and a node of the tape hold, as C structs, and the Python types on top of which Tensor and Node are
// written: Python's own slots cost three times as much to fill.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

namespace minidl {

// Pointers are null where nothing was assigned yet, which Python sees as None; array, backend, edges and saved never
// are.
struct TensorFields {
  PyObject head;
  PyObject* array;
  PyObject* backend;
  PyObject* grad;
  PyObject* node;
  PyObject* version;  // a list of one number, which all views of one memory share
  PyObject* hooks;
  bool requires_grad;
};

struct NodeFields {
  PyObject head;
  PyObject* backward;
  PyObject* edges;   // a tuple: per input a node, a leaf that wants a gradient, or None
  PyObject* saved;   // a list of (tensor, its version when it was saved)
  PyObject* output;  // (array, back end, version counter, version), where backward reads the output
  PyObject* hooks;
  PyObject* of_one;
  PyObject* name;
  PyObject* origin;
  int64_t sequence;
  bool is_relu;
};

inline bool is_set(PyObject* field) { return field != nullptr && field != Py_None; }

inline void assign(PyObject*& field, PyObject* borrowed) {
  PyObject* before = field;
  field = Py_XNewRef(borrowed);
  Py_XDECREF(before);
}

// The types to derive Tensor and Node from.
PyTypeObject* tensor_base();
PyTypeObject* node_base();

inline TensorFields* as_tensor(PyObject* object) {
  return PyObject_TypeCheck(object, tensor_base()) ? (TensorFields*)object : nullptr;
}
inline TensorFields* require_tensor(pybind11::handle object, const char* what) {
  if (TensorFields* tensor = object ? as_tensor(object.ptr()) : nullptr) return tensor;
  throw pybind11::type_error(std::string(what) + " must be a tensor, got " +
                             (object ? Py_TYPE(object.ptr())->tp_name : "NoneType"));
}
inline NodeFields* as_node(PyObject* object) {
  return PyObject_TypeCheck(object, node_base()) ? (NodeFields*)object : nullptr;
}

// An empty object of a type derived from one of these.
template <typename Fields>
Fields* new_object(PyTypeObject* type) {
  PyObject* object = type->tp_alloc(type, 0);
  if (object == nullptr) throw pybind11::error_already_set();
  return (Fields*)object;
}

}  // namespace minidl
