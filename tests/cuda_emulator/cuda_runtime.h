// In place of CUDA's header of this name: CUDA's language as C++, with typed launches. An unchanged .cu file compiles
// as C++ where this folder is the first to be searched.
#pragma once
#include <tuple>
#include <type_traits>

#include "cuda_runtime_api.h"
#include "emulator/arithmetic.h"
#include "emulator/memory.h"
#include "emulator/thread.h"
#include "emulator/warp.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define __builtin_assume(condition)

constexpr int warpSize = 32;

[[noreturn]] inline void __trap(emulator::Site site = emulator::Site::here()) { emulator::fail(site, "__trap()"); }

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "CUDA copies a kernel's parameters byte by byte");
  static_assert((sizeof(Parameters) + ... + 0) <= 32764, "CUDA's limit for a kernel's parameters");
  std::tuple<Parameters...> parameters(static_cast<Parameters>(arguments)...);
  return emulator::launch(*config, (const void*)kernel, [=] { std::apply(kernel, parameters); });
}

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value) {
  return emulator::set_attribute((const void*)kernel, attribute, value);
}
