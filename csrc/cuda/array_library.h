// What minidl asks of the library that owns device arrays: CuPy (cupy.cpp), or in tests NumPy in its place.
#pragma once
#include <cuda_runtime_api.h>
#include <pybind11/pybind11.h>

#include "array.h"

namespace minidl {

// Reads an array; None gives one that is not given. Throws for an object of another library and for an array of
// another GPU than the current one.
Array array_from_python(pybind11::handle source);

// The stream that the library queues its own work on in this thread.
cudaStream_t current_stream_handle();

}  // namespace minidl
