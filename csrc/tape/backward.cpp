// Walking the tape back: from the newest node to the oldest, each once, with the sum of what came to its output.
#include "backward.h"

#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "record.h"

namespace py = pybind11;

namespace minidl {
namespace {

bool has_hooks(PyObject* hooks) { return is_set(hooks) && PyDict_GET_SIZE(hooks) > 0; }

// What the hooks make of a gradient. One may take itself off, so their list is read before the first is called.
py::object through_hooks(PyObject* hooks, py::object grad) {
  for (py::handle hook : py::reinterpret_steal<py::list>(PyDict_Values(hooks))) {
    py::object answer = hook(grad);
    if (!answer.is_none()) grad = std::move(answer);
  }
  return grad;
}

bool is_changed(NodeFields* node) {
  for (py::handle pair : py::handle(node->saved)) {
    auto* tensor = (TensorFields*)PyTuple_GET_ITEM(pair.ptr(), 0);
    if (is_set(tensor->version) && version_of(tensor) != PyLong_AsLongLong(PyTuple_GET_ITEM(pair.ptr(), 1)))
      return true;
  }
  if (!is_set(node->output)) return false;
  PyObject* counter = PyTuple_GET_ITEM(node->output, 2);
  return PyLong_AsLongLong(PyList_GET_ITEM(counter, 0)) != PyLong_AsLongLong(PyTuple_GET_ITEM(node->output, 3));
}

// The output as backward reads it: a tensor of its own on the memory that was there.
py::object saved_output(NodeFields* node, bool create_graph) {
  auto* out = new_object<TensorFields>(connections.tensor_type);
  auto holder = py::reinterpret_steal<py::object>((PyObject*)out);
  assign(out->array, PyTuple_GET_ITEM(node->output, 0));
  assign(out->backend, PyTuple_GET_ITEM(node->output, 1));
  assign(out->version, PyTuple_GET_ITEM(node->output, 2));
  if (create_graph) {
    out->requires_grad = true;
    assign(out->node, (PyObject*)node);
  }
  return holder;
}

// What a tensor is known by on the tape: its node, or itself where it is a leaf.
PyObject* end_of(TensorFields* tensor) { return is_set(tensor->node) ? tensor->node : (PyObject*)tensor; }

class Walk {
 public:
  Walk(const py::object& targets, bool retain_graph, bool create_graph)
      : has_targets(!targets.is_none()), retain_graph(retain_graph), create_graph(create_graph) {
    leaves_watch = py::handle(connections.watch).attr("leaves");
    if (!has_targets) return;
    for (py::handle target : targets) {
      TensorFields* tensor = require_tensor(target, "grad: an input");
      if (is_set(tensor->node)) ((NodeFields*)tensor->node)->is_relu = false;  // its own gradient is wanted
      wanted.insert(end_of(tensor));
    }
  }

  void run(const py::tuple& outputs, const py::tuple& grad_outputs) {
    Recording recording(create_graph);
    start(outputs, grad_outputs);
    while (!waiting.empty()) {
      auto newest = waiting.begin();
      py::object node = std::move(newest->second.first), grad = std::move(newest->second.second);
      waiting.erase(newest);
      visit((NodeFields*)node.ptr(), std::move(grad));
    }
    for (Leaf& leaf : leaves) finish(leaf);
  }

  py::list found_for(const py::object& targets) {
    py::list result;
    if (!has_targets) return result;
    for (py::handle target : targets) {
      auto place = found.find(end_of((TensorFields*)target.ptr()));
      result.append(place == found.end() ? py::none() : place->second);
    }
    return result;
  }

 private:
  struct Leaf {
    py::object tensor, grad;
  };

  void start(const py::tuple& outputs, const py::tuple& grad_outputs) {
    for (size_t i = 0; i < outputs.size(); ++i) {
      TensorFields* output = require_tensor(outputs[i], "backward: an output");
      py::object grad = grad_outputs[i];
      if (grad.is_none()) {
        // The loss at the end of a training step mostly knows the gradient for a 1: none has to be made.
        if (auto* node = as_node(end_of(output));
            node != nullptr && outputs.size() == 1 && knows_gradient_of_one(node)) {
          go_on(node, of_one(node), py::none());
          continue;
        }
        grad = py::handle(connections.make_one)(outputs[i]);
        if (outputs.size() == 1) one = grad;
      }
      taken.insert(require_tensor(grad, "backward: the gradient of an output")->array);
      given.push_back(grad);  // so that what is in `taken` lives
      deliver(end_of(output), std::move(grad));
    }
  }

  bool knows_gradient_of_one(NodeFields* node) const {
    return is_set(node->of_one) && !has_hooks(node->hooks) && !retain_graph && !create_graph &&
           !wanted.contains((PyObject*)node);
  }

  py::object of_one(NodeFields* node) {
    require_unchanged(node);
    return py::handle(node->of_one)();
  }

  void visit(NodeFields* node, py::object grad) {
    if (has_hooks(node->hooks)) grad = through_hooks(node->hooks, std::move(grad));
    if (has_targets && wanted.contains((PyObject*)node)) found[(PyObject*)node] = grad;
    go_on(node, grad.is(one) && knows_gradient_of_one(node) ? of_one(node) : call_backward(node, grad), grad);
  }

  // Delivers what a node computed and lets go of what it held.
  void go_on(NodeFields* node, const py::object& grads, const py::object& grad) {
    if (connections.check_backward != nullptr)
      py::handle(connections.check_backward)(py::handle((PyObject*)node), grad, grads);
    auto in_order = py::reinterpret_steal<py::object>(
        PySequence_Fast(grads.ptr(), "backward of an operation must return one gradient for each of its inputs"));
    if (!in_order) throw py::error_already_set();
    auto edges = py::reinterpret_borrow<py::tuple>(node->edges);
    if ((size_t)PySequence_Fast_GET_SIZE(in_order.ptr()) != edges.size())
      throw py::value_error("backward of an operation must return one gradient for each of its " +
                            std::to_string(edges.size()) + " inputs, got " +
                            std::to_string(PySequence_Fast_GET_SIZE(in_order.ptr())));
    for (size_t i = 0; i < edges.size(); ++i) {
      PyObject* of_input = PySequence_Fast_GET_ITEM(in_order.ptr(), (py::ssize_t)i);
      if (of_input != Py_None && !edges[i].is_none())
        deliver(edges[i].ptr(), py::reinterpret_borrow<py::object>(of_input));
    }
    if (retain_graph) return;
    assign(node->backward, Py_None);
    assign(node->of_one, nullptr);
    assign(node->output, nullptr);
    py::tuple nothing;
    assign(node->saved, nothing.ptr());
    assign(node->edges, nothing.ptr());
  }

  void deliver(PyObject* edge, py::object grad) {
    auto add_to = [&](py::object& sum) { sum = sum ? sum + grad : std::move(grad); };
    if (NodeFields* node = as_node(edge)) {
      auto& [holder, sum] = waiting[node->sequence];
      holder = py::reinterpret_borrow<py::object>(edge);
      add_to(sum);
      return;
    }
    require_tensor(edge, "backward: the end of a graph");
    auto [place, is_new] = leaf_places.try_emplace(edge, leaves.size());
    if (is_new) leaves.push_back({py::reinterpret_borrow<py::object>(edge), {}});
    add_to(leaves[place->second].grad);
  }

  void require_unchanged(NodeFields* node) {
    if (is_changed(node)) py::handle(connections.raise_changed)(py::handle((PyObject*)node));
  }

  py::object call_backward(NodeFields* node, const py::object& grad) {
    if (!is_set(node->backward)) {
      PyErr_SetString(PyExc_RuntimeError,
                      "backward through a graph that was already freed; pass retain_graph=True to the first backward() "
                      "or grad()");
      throw py::error_already_set();
    }
    require_unchanged(node);
    auto backward = py::reinterpret_borrow<py::object>(node->backward);
    try {
      return is_set(node->output) ? backward(grad, saved_output(node, create_graph)) : backward(grad);
    } catch (py::error_already_set& error) {
      // Whoever reports it can say where it was: error.node.
      PyObject* value = error.value().ptr();
      if (!PyObject_HasAttrString(value, "node") && PyObject_SetAttrString(value, "node", (PyObject*)node) != 0)
        PyErr_Clear();
      throw;
    }
  }

  void finish(Leaf& leaf) {
    auto* tensor = (TensorFields*)leaf.tensor.ptr();
    if (has_hooks(tensor->hooks)) leaf.grad = through_hooks(tensor->hooks, std::move(leaf.grad));
    if (!has_targets)
      accumulate(tensor, leaf.grad);
    else if (wanted.contains(leaf.tensor.ptr()))
      found[leaf.tensor.ptr()] = leaf.grad;
  }

  // leaf.grad += grad. The first gradient's array is taken over unless someone else may hold it.
  void accumulate(TensorFields* leaf, py::object grad) {
    py::handle of_python((PyObject*)leaf);
    if (!leaves_watch.is_none()) leaves_watch.attr("note_added")(of_python);
    if (is_set(leaf->grad)) {
      py::handle(connections.add_gradient)(of_python, grad, create_graph);
      return;
    }
    PyObject* array = require_tensor(grad, "backward: a gradient")->array;
    py::object base = py::handle(array).attr("base");
    bool is_view = Py_TYPE(base.ptr()) == Py_TYPE(array);
    if ((is_view || taken.contains(array)) && !create_graph) grad = grad.attr("clone")();
    taken.insert(as_tensor(grad.ptr())->array);
    assign(leaf->grad, grad.ptr());
  }

  const bool has_targets, retain_graph, create_graph;
  py::object leaves_watch;
  std::map<int64_t, std::pair<py::object, py::object>, std::greater<>> waiting;  // by sequence: node, gradient so far
  std::vector<Leaf> leaves;  // in the order in which they were reached
  std::unordered_map<PyObject*, size_t> leaf_places;
  std::unordered_set<PyObject*> wanted;
  std::unordered_map<PyObject*, py::object> found;
  std::unordered_set<PyObject*> taken;  // arrays that somebody holds
  std::vector<py::object> given;
  py::object one;
};

}  // namespace

py::list run_backward(py::tuple outputs, py::tuple grad_outputs, py::object targets, bool retain_graph,
                      bool create_graph) {
  Walk walk(targets, retain_graph, create_graph);
  walk.run(outputs, grad_outputs);
  return walk.found_for(targets);
}

}  // namespace minidl
