// The settings of the process that kernels run under.
#include "stream.h"

#include <atomic>

#include "parallel.h"

namespace minidl {
namespace {

std::atomic<bool> allows_bfloat16{false};

}  // namespace

Stream current_stream() { return {thread_count(), allows_bfloat16.load(std::memory_order_relaxed)}; }

void set_allows_bfloat16(bool allows) { allows_bfloat16.store(allows, std::memory_order_relaxed); }

}  // namespace minidl
