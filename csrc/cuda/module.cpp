// minidl._cuda: the kernels for CuPy arrays, and what the CUDA runtime says of this machine.
#include <cuda_runtime_api.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "invoke.h"
#include "kernels.h"
#include "memory_pool.h"
#include "plan.h"
#include "python_array.h"
#include "write.h"

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

// Oldest GPU that the machine code is made for.
constexpr int oldest_capability = 75;

// What is missing and what to do about it; empty when a GPU can be used.
std::string why_unusable() {
  int devices = 0, major = 0, minor = 0;
  cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaErrorInsufficientDriver)
    return "there is no NVIDIA driver, or one too old for CUDA " + version_text(CUDART_VERSION) +
           "; install a newer one";
  if (error == cudaErrorNoDevice || (error == cudaSuccess && devices == 0))
    return "the NVIDIA driver finds no GPU (CUDA_VISIBLE_DEVICES may hide it)";
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0);
  if (error != cudaSuccess) return std::string("the NVIDIA driver answers: ") + cudaGetErrorString(error);
  if (10 * major + minor < oldest_capability)
    return "the GPU has compute capability " + std::to_string(major) + "." + std::to_string(minor) +
           ", and minidl needs 7.5";
  return "";
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

std::pair<int, int> capability(int device) {
  int major = 0, minor = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
  return {major, minor};
}

std::pair<size_t, size_t> memory_bytes() {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return {free, total};
}

// array = values, in the order of the stream and without waiting, which a copy from the host's memory would do. Not by
// submit(): a step that is being captured shall not repeat it.
void write(Array array, const std::vector<double>& values) {
  name_arrays("write", "array", array);
  require_size(array, (int64_t)values.size());
  double* to = array.pointer<double>(true);
  Stream stream = current_stream();
  invoke("write", [&] { write_values(stream, values.data(), to, (int64_t)values.size()); });
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
  m.def("capability", &capability, "The GPU's compute capability: {major, minor}.", "device"_a);
  m.def("memory_bytes", &memory_bytes, "Bytes of the GPU's memory: {free, total}.");
  m.def("set_allows_tf32", &set_allows_tf32, "Lets float32 products round their factors to TF32, from sm_80 on.",
        "allows"_a);
  m.def("set_allows_bfloat16", &set_allows_bfloat16,
        "Lets float32 products round their factors to bfloat16, from sm_80 on; it goes before TF32.", "allows"_a);
  m.def("write", &write, "Replaces the elements of a small float64 array without waiting.", "array"_a, "values"_a);
  m.def("synchronize", &synchronize, "Waits until all that was queued has run.");
  m.def("empty", &empty_array, "An uninitialised array in pooled device memory.", "shape"_a, "dtype"_a);
  m.def("pooled_bytes", &pooled_bytes, "Bytes held by the pool: {in use, idle}.");
  m.def("release_pool", &release_idle_memory, "Returns idle pooled memory to the GPU.");
}

}  // namespace minidl
