// The settings of the process that kernels run under.
#include "stream.h"

#include <atomic>

#include "parallel.h"

namespace minidl {
namespace {

std::atomic<Rounding> current_rounding{Rounding{}};

}  // namespace

Stream current_stream() { return {thread_count(), current_rounding.load(std::memory_order_relaxed)}; }

void set_rounding(Rounding rounding) { current_rounding.store(rounding, std::memory_order_relaxed); }

}  // namespace minidl
