// Runs one kernel launch: block after block, each thread of a block a fiber.
#pragma once
#include <stddef.h>

#include <string>

#include "vectors.h"

namespace emulator {

constexpr size_t static_shared_bytes = 48 << 10;  // most that declared arrays may take, on every GPU

struct Grid {
  dim3 blocks, threads;
  size_t dynamic_shared_bytes;
  size_t shared_bytes_limit;
  void (*call)(const void* arguments);  // the kernel, as one thread runs it
  const void* arguments;
};

// Empty, or what the kernel did wrong and where: the launch ended there.
std::string run(const Grid& grid);

}  // namespace emulator
