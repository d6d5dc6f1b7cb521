// What the CUDA runtime answers, turned into exceptions.
#pragma once
#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

namespace minidl {

// Throws with the call and CUDA's words unless the answer is success.
void check(cudaError_t error, const char* call);

// The first error that the context did not survive, as text; empty while it lives. Once set, every later call says so.
const std::string& cause_of_death();
void require_alive(const char* what);

}  // namespace minidl
