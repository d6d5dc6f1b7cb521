// Calling a kernel on a GPU: it is queued; a launch that CUDA refuses becomes an error with the kernel's name.
#pragma once
#include <string>

#include "check.h"
#include "launch.cuh"

namespace minidl {

template <typename Body>
void invoke(const char* name, const Body& body) {
  require_alive(name);
  try {
    body();
  } catch (const LaunchError& error) {
    check(error.code, (std::string(name) + "()").c_str());
  }
}

}  // namespace minidl
