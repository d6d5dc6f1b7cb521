// The contract made from kernels.def: one table of function pointers per target and number type.
#pragma once
#include <stdint.h>

#include "stream.h"

namespace minidl {

constexpr int max_dims = 8;

// Element strides of several operands over one shape, last dimension fastest; 0 where an operand is broadcast.
template <int operands>
struct Strided {
  int dims;
  int64_t shape[max_dims];
  int64_t strides[operands][max_dims];
};

// One parameter of an optimizer group with its gradient and the optimizer's state, all of one size, and its counters:
// steps taken, NAdam's product of mu. Null: not kept.
template <typename T>
struct Segment {
  T* param;
  T* grad;
  T* state[3];
  double* counters[2];
  int64_t size;
};

// A weight that a constraint acts on row by row.
template <typename T>
struct Matrix {
  T* weight;
  int64_t rows, columns;
};

// What linear_forward applies to its result; each has a gradient that needs only the output.
enum class Activation : int { none, relu, sigmoid, tanh };
enum class Reduction : int { none, mean, sum };

#define KERNEL(name, parameters, maths) \
  template <typename T>                 \
  using name##_signature = void parameters;
#include "kernels.def"
#undef KERNEL

template <typename T>
struct Kernels {
#define KERNEL(name, parameters, maths) name##_signature<T>* name;
#include "kernels.def"
#undef KERNEL
};

// The table in use, provided by the module (cpu/module.cpp, cuda/module.cpp).
template <typename T>
const Kernels<T>& active_kernels();

}  // namespace minidl

#ifdef MINIDL_TARGET
namespace MINIDL_TARGET {
using namespace minidl;

// A kernel is a template with internal linkage; EXPORT(name) publishes its two instances to this target's table.
// Pointers rather than explicit instantiations: those would be weak symbols, which the linker may merge across
// instruction sets.
#define KERNEL(name, parameters, maths)             \
  extern name##_signature<float>* const name##_f32; \
  extern name##_signature<double>* const name##_f64;
#include "kernels.def"
#undef KERNEL
#define EXPORT(name)                                              \
  extern name##_signature<float>* const name##_f32 = name<float>; \
  extern name##_signature<double>* const name##_f64 = name<double>;

}  // namespace MINIDL_TARGET
#endif
