// In place of csrc/cuda/shared.cuh: shared memory between fences, full of nan when a block begins.
#pragma once
#include "emulator/thread.h"

// A lambda has a type of its own, so each declaration, and each instance of a template around it, is an array of its
// own.
#define SHARED(T, name, ...) auto& name = emulator::shared<T __VA_ARGS__>([] {}, emulator::Site{__FILE__, __LINE__})
#define DYNAMIC_SHARED(T, name) \
  T* const name = static_cast<T*>(emulator::dynamic_shared_array(emulator::Site{__FILE__, __LINE__}))

namespace emulator {

template <typename Array, typename Declaration>
Array& shared(Declaration, Site site) {
  static const char declaration = 0;
  return *static_cast<Array*>(shared_array(&declaration, sizeof(Array), alignof(Array), site));
}

}  // namespace emulator
