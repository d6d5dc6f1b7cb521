// Products that Hopper's warpgroups multiply, where the build and the GPU have instructions of sm_90a.
#pragma once
#include "stream.h"

namespace MINIDL_TARGET {

template <typename T>
struct Product;

// out = epilogue(a b) from factors rounded to TF32 or bfloat16, as `stream` allows. False, and nothing is queued,
// where that is not possible or tiles of other kernels are faster.
bool multiply_by_warpgroups(minidl::Stream stream, const Product<float>& p);

}  // namespace MINIDL_TARGET
