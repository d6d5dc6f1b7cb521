// CUDA's errors: those of one call, and those that end the context.
#include "check.h"

#include <mutex>

namespace minidl {
namespace {

std::mutex guard;
std::string death;

// After these the driver refuses everything until the process ends.
bool is_sticky(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
      return true;
    default:
      return false;
  }
}

}  // namespace

const std::string& cause_of_death() { return death; }

void require_alive(const char* what) {
  if (death.empty()) return;
  throw std::runtime_error(std::string(what) + ": the GPU cannot be used any more in this process: " + death);
}

void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // one that is not sticky is over with
  std::string text = std::string(call) + ": " + cudaGetErrorString(error);
  if (is_sticky(error)) {
    std::lock_guard lock(guard);
    text += "; it happened here or in a kernel before, and the process has to be started anew";
    if (death.empty()) death = text;
  }
  throw std::runtime_error(text);
}

}  // namespace minidl
