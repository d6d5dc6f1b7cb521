// Shared memory, declared by macro so that the emulator can fence every array and fill it with nan:
//   SHARED(float, tile, [8][64]);     __shared__ float tile[8][64]
//   DYNAMIC_SHARED(float, stages);    what the launch asked for, 16-byte aligned
#pragma once

#define SHARED(T, name, ...) __shared__ T name __VA_ARGS__
#define DYNAMIC_SHARED(T, name)                                   \
  extern __shared__ __align__(16) unsigned char dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(dynamic_shared)
