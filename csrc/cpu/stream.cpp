// The settings of the process that kernels run under.
#include "stream.h"

#include <atomic>

#include "parallel.h"

namespace minidl {
namespace {

std::atomic<Bfloat16> bfloat16{Bfloat16::none};

}  // namespace

Stream current_stream() { return {thread_count(), bfloat16.load(std::memory_order_relaxed)}; }

void set_bfloat16(Bfloat16 instructions) { bfloat16.store(instructions, std::memory_order_relaxed); }

}  // namespace minidl
