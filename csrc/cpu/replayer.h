// How the calls of a plan run again on the CPU: one after the other, on the inputs where the caller has them.
#pragma once
#include <chrono>
#include <cstdint>
#include <vector>

#include "call.h"
#include "stream.h"

namespace minidl {

struct ReplayInput {
  uintptr_t begin;
  size_t bytes;
  bool is_written;
};

class Replayer {
 public:
  // Says where the calls shall find their inputs.
  void place(Stream, std::vector<ReplayInput>&) {}
  void run(Stream stream, const Calls& calls) {
    for (const auto& call : calls) call->run(stream);
  }
  size_t longest_chain(const Calls& calls) const { return calls.size(); }
};

class Stopwatch {
 public:
  void start(Stream) { begin_ = Clock::now(); }
  double seconds(Stream) const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin_;
};

}  // namespace minidl
