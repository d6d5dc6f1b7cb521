// Numbers from the host into device memory, in the order of the stream and without waiting for it.
#pragma once
#include <stdint.h>

#include "stream.h"

namespace minidl {

// Throws LaunchError.
void write_values(Stream stream, const double* values, double* out, int64_t count);

}  // namespace minidl
