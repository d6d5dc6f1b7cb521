// minidl._cuda: what the CUDA runtime says of this machine. The kernels for CuPy arrays are bound here once they exist.
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

namespace py = pybind11;

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

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "What the CUDA runtime says of this machine";
  m.attr("toolkit") = version_text(CUDART_VERSION);
  m.attr("kernel_names") = py::tuple();
  m.def("why_unusable", &why_unusable, "Why no GPU can be used, in the driver's words; empty when one can.");
  m.def("device_names", &device_names, "The GPUs of this machine.");
}
