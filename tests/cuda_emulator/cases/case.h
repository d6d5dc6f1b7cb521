// Programs of many small cases, one a run: PROGRAM NAME prints what CUDA answers, or what the case found wrong.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>

#include "kernels.h"
#include "launch.cuh"

namespace MINIDL_TARGET {

inline const Stream stream{nullptr, nullptr, nullptr};

// Device memory of the numbers 0, 1, 2, ...
template <typename T = float>
T* numbers(int size) {
  T* data;
  cudaMalloc(&data, size * sizeof(T));
  for (int i = 0; i < size; ++i) data[i] = T(i);
  return data;
}

template <typename T = float>
T* zeros(int size) {
  T* data;
  cudaMalloc(&data, size * sizeof(T));
  std::memset(data, 0, size * sizeof(T));
  return data;
}

inline void require(bool condition, const std::string& what) {
  if (condition) return;
  std::printf("wrong: %s\n", what.c_str());
  std::exit(1);
}

inline void require_cuda(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::printf("error: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

template <typename T, typename Expected>
void require_values(const T* data, int size, const Expected& expected) {
  for (int i = 0; i < size; ++i)
    require((double)data[i] == (double)expected(i),
            "element " + std::to_string(i) + " is " + std::to_string(data[i]) + ", not " + std::to_string(expected(i)));
}

using Cases = std::map<std::string, std::function<void()>>;

inline int run_case(const Cases& cases, int argument_count, char** arguments) {
  auto found = argument_count == 2 ? cases.find(arguments[1]) : cases.end();
  if (found == cases.end()) {
    for (const auto& [name, body] : cases) std::printf("%s\n", name.c_str());
    return argument_count == 1 ? 0 : 2;
  }
  try {
    found->second();
    require_cuda(cudaDeviceSynchronize());
  } catch (const LaunchError& error) {
    require_cuda(error.code);
  }
  std::printf("fine\n");
  return 0;
}

}  // namespace MINIDL_TARGET
