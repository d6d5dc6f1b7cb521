// minidl._cuda: the kernels for CuPy arrays, and what the CUDA runtime says of this machine.
#include <cuda_runtime_api.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "check.h"
#include "kernels.h"
#include "memory_pool.h"
#include "plan.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace cuda {
extern const minidl::Kernels<float> kernels_f32;
extern const minidl::Kernels<double> kernels_f64;
}  // namespace cuda

namespace minidl {

void bind_kernels(py::module_& m);

namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// The driver's answer as text; empty when a GPU can be used.
std::string why_unusable() {
  int devices = 0;
  cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess) return cudaGetErrorString(error);
  return devices > 0 ? "" : "the driver reports no GPU";
}

std::vector<std::string> device_names() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) return {};
  std::vector<std::string> names;
  for (int i = 0; i < devices; ++i) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) == cudaSuccess) names.push_back(properties.name);
  }
  return names;
}

// Waits until all that was queued has run; an error of a kernel shows here at the latest.
void synchronize() {
  require_alive("synchronize");
  cudaError_t error;
  {
    py::gil_scoped_release unlocked;
    error = cudaDeviceSynchronize();
  }
  check(error, "cudaDeviceSynchronize");
}

}  // namespace

template <>
const Kernels<float>& active_kernels<float>() {
  return ::cuda::kernels_f32;
}
template <>
const Kernels<double>& active_kernels<double>() {
  return ::cuda::kernels_f64;
}

PYBIND11_MODULE(MINIDL_MODULE, m) {
  m.doc() = "minidl's kernels for device arrays, and what the CUDA runtime says of this machine";
  bind_kernels(m);
  bind_plan(m);
  m.attr("toolkit") = version_text(CUDART_VERSION);
  m.def("why_unusable", &why_unusable, "Why no GPU can be used, in the driver's words; empty when one can.");
  m.def("device_names", &device_names, "The GPUs of this machine.");
  m.def("synchronize", &synchronize, "Waits until all that was queued has run.");
  m.def("empty", &empty_array, "An uninitialised array in pooled device memory.", "shape"_a, "dtype"_a);
  m.def("pooled_bytes", &pooled_bytes, "Bytes held by the pool: {in use, idle}.");
  m.def("release_pool", &release_idle_memory, "Returns idle pooled memory to the GPU.");
}

}  // namespace minidl
