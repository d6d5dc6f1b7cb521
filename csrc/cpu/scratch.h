// Working memory of a kernel, kept from call to call.
#pragma once
#include <stddef.h>

namespace minidl {

// At least `bytes`, on a cache line, the calling thread's own; its contents are lost at the thread's next call.
void* scratch_memory(size_t bytes);

}  // namespace minidl
