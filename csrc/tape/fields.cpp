#include "fields.h"

#include <structmember.h>

#include <cstddef>

namespace py = pybind11;

namespace minidl {
namespace {

// What the collector of cycles wants of a type that owns these fields.
template <typename Object, PyObject* Object::*... fields>
struct Owned {
  static int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    int stop = 0;
    auto visit_field = [&](PyObject* field) { return field != nullptr && (stop = visit(field, arg)) != 0; };
    (void)(visit_field(((Object*)self)->*fields) || ...);
    return stop;
  }
  static int clear(PyObject* self) {
    auto clear_field = [](PyObject*& field) { Py_CLEAR(field); };
    (clear_field(((Object*)self)->*fields), ...);
    return 0;
  }
  static void deallocate(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    type->tp_free(self);
    Py_DECREF(type);
  }
};

using OfTensor = Owned<TensorFields, &TensorFields::array, &TensorFields::backend, &TensorFields::grad,
                       &TensorFields::node, &TensorFields::version, &TensorFields::hooks>;
using OfNode = Owned<NodeFields, &NodeFields::backward, &NodeFields::edges, &NodeFields::saved, &NodeFields::output,
                     &NodeFields::hooks, &NodeFields::of_one, &NodeFields::name, &NodeFields::origin>;

PyObject* new_tensor(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* object = type->tp_alloc(type, 0);
  if (object == nullptr) return nullptr;
  assign(((TensorFields*)object)->array, Py_None);
  assign(((TensorFields*)object)->backend, Py_None);
  return object;
}

PyObject* new_node(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject *object = type->tp_alloc(type, 0), *nothing = PyTuple_New(0);
  if (object != nullptr) {
    assign(((NodeFields*)object)->edges, nothing);
    assign(((NodeFields*)object)->saved, nothing);
  }
  Py_XDECREF(nothing);
  return object;
}

// Tensor(data, backend=None, requires_grad=False). Without a back end, the type's own _read_data(data) finds the array
// and the back end.
int initialize_tensor(PyObject* self, PyObject* args, PyObject* kwargs) {
  PyObject *data, *backend = Py_None;
  int requires_grad = 0;
  if (kwargs == nullptr && PyTuple_GET_SIZE(args) == 2) {
    data = PyTuple_GET_ITEM(args, 0);
    backend = PyTuple_GET_ITEM(args, 1);
  } else {
    static const char* names[] = {"data", "backend", "requires_grad", nullptr};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|Op:Tensor", (char**)names, &data, &backend, &requires_grad))
      return -1;
  }
  auto* tensor = (TensorFields*)self;
  tensor->requires_grad = requires_grad != 0;
  if (backend != Py_None) {
    assign(tensor->array, data);
    assign(tensor->backend, backend);
    return 0;
  }
  PyObject* read = PyObject_CallMethod(self, "_read_data", "O", data);
  if (read == nullptr) return -1;
  int is_read = PyArg_ParseTuple(read, "OO", &data, &backend);
  if (is_read) {
    assign(tensor->array, data);
    assign(tensor->backend, backend);
  }
  Py_DECREF(read);
  return is_read ? 0 : -1;
}

PyMemberDef tensor_members[] = {
    {"array", T_OBJECT, offsetof(TensorFields, array), 0, nullptr},
    {"backend", T_OBJECT, offsetof(TensorFields, backend), 0, nullptr},
    {"grad", T_OBJECT, offsetof(TensorFields, grad), 0, nullptr},
    {"requires_grad", T_BOOL, offsetof(TensorFields, requires_grad), 0, nullptr},
    {"_node", T_OBJECT, offsetof(TensorFields, node), 0, nullptr},
    {"_version", T_OBJECT, offsetof(TensorFields, version), 0, nullptr},
    {"_hooks", T_OBJECT, offsetof(TensorFields, hooks), 0, nullptr},
    {},
};

PyMemberDef node_members[] = {
    {"backward", T_OBJECT, offsetof(NodeFields, backward), READONLY, nullptr},
    {"edges", T_OBJECT, offsetof(NodeFields, edges), READONLY, nullptr},
    {"saved", T_OBJECT, offsetof(NodeFields, saved), READONLY, nullptr},
    {"output", T_OBJECT, offsetof(NodeFields, output), 0, nullptr},
    {"hooks", T_OBJECT, offsetof(NodeFields, hooks), 0, nullptr},
    {"of_one", T_OBJECT, offsetof(NodeFields, of_one), 0, nullptr},
    {"_name", T_OBJECT, offsetof(NodeFields, name), 0, nullptr},
    {"origin", T_OBJECT_EX, offsetof(NodeFields, origin), 0, nullptr},  // AttributeError where there is none
    {"sequence", T_LONGLONG, offsetof(NodeFields, sequence), READONLY, nullptr},
    {"is_relu", T_BOOL, offsetof(NodeFields, is_relu), 0, nullptr},
    {},
};

template <typename Owned>
PyTypeObject* make_type(const char* name, int size, PyMemberDef* members, newfunc make, initproc initialize) {
  PyType_Slot slots[] = {
      {Py_tp_new, (void*)make},
      {Py_tp_traverse, (void*)Owned::traverse},
      {Py_tp_clear, (void*)Owned::clear},
      {Py_tp_dealloc, (void*)Owned::deallocate},
      {Py_tp_members, members},
      {initialize == nullptr ? 0 : Py_tp_init, (void*)initialize},
      {},
  };
  PyType_Spec spec{name, size, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  auto* type = (PyTypeObject*)PyType_FromSpec(&spec);
  if (type == nullptr) throw py::error_already_set();
  return type;
}

}  // namespace

PyTypeObject* tensor_base() {
  static PyTypeObject* type = make_type<OfTensor>("minidl._tape.TensorFields", sizeof(TensorFields), tensor_members,
                                                  new_tensor, initialize_tensor);
  return type;
}

PyTypeObject* node_base() {
  static PyTypeObject* type =
      make_type<OfNode>("minidl._tape.NodeFields", sizeof(NodeFields), node_members, new_node, nullptr);
  return type;
}

}  // namespace minidl
