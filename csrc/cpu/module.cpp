// minidl._cpu: the kernels for NumPy arrays, the choice of the instruction set, threads, and pooled memory.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bfloat16.h"
#include "cpu_targets.h"
#include "finite_check.h"
#include "kernels.h"
#include "memory_pool.h"
#include "parallel.h"
#include "plan.h"
#include "python_array.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace minidl {

void bind_kernels(py::module_& m);

namespace {

struct Target {
  const char* isa;
  bool (*is_supported)();
  const Kernels<float>* f32;
  const Kernels<double>* f64;
};

// Best first; cpu_targets.h is written by CMake for the instruction sets of this build.
const Target targets[] = {
#define TARGET(isa, is_supported) \
  {#isa, [] { return bool(is_supported); }, &cpu_##isa::kernels_f32, &cpu_##isa::kernels_f64},
    CPU_TARGETS
#undef TARGET
};

const Target* active = nullptr;

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Target& target : targets)
    if (target.is_supported()) names.push_back(target.isa);
  return names;
}

void set_isa(const std::string& name) {
  for (const Target& target : targets)
    if (target.isa == name && target.is_supported()) {
      active = &target;
      return;
    }
  std::string known;
  for (const std::string& isa : available_isas()) known += (known.empty() ? "" : ", ") + isa;
  throw std::invalid_argument("instruction set '" + name + "' is not available on this machine; it has: " + known);
}

}  // namespace

template <>
const Kernels<float>& active_kernels<float>() {
  return *active->f32;
}
template <>
const Kernels<double>& active_kernels<double>() {
  return *active->f64;
}

PYBIND11_MODULE(_cpu, m) {
  m.doc() = "minidl's kernels for NumPy arrays";
  set_isa(available_isas().front());
  bind_kernels(m);
  m.def("available_isas", &available_isas, "Instruction sets that this build and this machine both have, best first.");
  m.def("isa", [] { return std::string(active->isa); }, "The instruction set in use.");
  m.def("set_isa", &set_isa, "Uses the kernels of one instruction set.", "name"_a);
  m.def("thread_count", &thread_count, "Threads that a kernel may use.");
  m.def(
      "set_thread_count",
      [](int threads) {
        if (threads < 1)
          throw std::invalid_argument("set_thread_count(): threads must be at least 1, got " + std::to_string(threads));
        set_thread_count(threads);
      },
      "Sets the number of threads that a kernel may use.", "threads"_a);
  m.def("available_bfloat16", &available_bfloat16,
        "Instructions that multiply bfloat16 numbers and that this CPU has, fastest first; the kernels for avx512 use "
        "them.");
  m.def("fastest_bfloat16", &fastest_bfloat16,
        "Those of them that outrun float32 with factors in so many pieces, or \"none\".", "pieces"_a = 1);
  m.def(
      "bfloat16", [] { return name_of(current_stream().rounding.instructions); },
      "The instructions in use, or \"none\".");
  m.def("set_bfloat16", &choose_bfloat16,
        "Lets float32 products round their factors to bfloat16, or with 2 pieces to the sum of two such numbers, and "
        "multiply them by these instructions; \"none\" does not.",
        "instructions"_a, "pieces"_a = 1);
  m.def("empty", &empty_array, "An uninitialised array in 64-byte aligned, pooled memory.", "shape"_a, "dtype"_a);
  bind_plan(m);
  m.def(
      "require_finite",
      [](Array x, const std::string& name) {
        name_arrays("require_finite", "x", x);
        require_given(x);
        require_finite(x, name);
      },
      "FloatingPointError unless every element is finite; in a captured step the check is replayed.", "x"_a, "name"_a);
  m.def("pooled_bytes", &pooled_bytes, "Bytes held by the pool: {in use, idle}.");
  m.def("release_pool", &release_idle_memory, "Returns idle pooled memory to the system.");
}

}  // namespace minidl
