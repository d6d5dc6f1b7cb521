// Python's view of the kernels, written once for every back end, a file for each family: a row checks shapes, then
// submits.
#include "binding.h"
#include "families.h"

namespace minidl {
namespace {

// Python's own enumerations: pybind11 knows one per C++ type and process, and every back end's module has these.
void bind_kinds(py::module_& m) {
  py::module_ kinds = py::module_::import("minidl.kinds");
  auto require = [](py::object kind, std::initializer_list<const char*> members) {
    int value = 0;
    for (const char* member : members)
      if (kind.attr(member).cast<int>() != value++) throw std::logic_error("minidl.kinds and kernels.h differ");
  };
  require(kinds.attr("Activation"), {"none", "relu", "sigmoid", "tanh"});
  require(kinds.attr("Reduction"), {"none", "mean", "sum"});
  m.attr("Activation") = kinds.attr("Activation");
  m.attr("Reduction") = kinds.attr("Reduction");
}

}  // namespace

void bind_kernels(py::module_& m) {
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const DTypeError& e) {
      PyErr_SetString(PyExc_TypeError, e.what());
    } catch (const NotFiniteError& e) {
      PyErr_SetString(PyExc_FloatingPointError, e.what());
    }
  });
  py::list names;
#define KERNEL(name, parameters, maths) names.append(#name);
#include "kernels.def"
#undef KERNEL
  m.attr("kernel_names") = py::tuple(names);
  bind_kinds(m);
  bind_elementwise(m);
  bind_activation(m);
  bind_matmul(m);
  bind_reduction(m);
  bind_softmax(m);
  bind_loss(m);
  bind_normalization(m);
  bind_random(m);
  bind_optimizer(m);
  bind_regularization(m);
  bind_roof(m);
}

}  // namespace minidl
