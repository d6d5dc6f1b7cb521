// For instruction sets that do not multiply bfloat16 numbers.
#pragma once
#include "gemm/product.h"

namespace MINIDL_TARGET {
namespace {

// False, and nothing done.
template <typename T>
bool multiply_in_bfloat16(Stream, const Product<T>&) {
  return false;
}

}  // namespace
}  // namespace MINIDL_TARGET
