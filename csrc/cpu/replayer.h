// How the calls of a plan run again on the CPU: one after the other, on the inputs where the caller has them.
#pragma once
#include <chrono>
#include <cstdint>
#include <vector>

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
  template <typename Issue>
  void run(Stream stream, const Issue& issue_calls) {
    issue_calls(stream);
  }
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
