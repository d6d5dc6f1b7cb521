// How the calls of a plan run again on the CPU: one after the other, on the inputs where the caller has them.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "call.h"
#include "stream.h"

namespace minidl {

struct ReplayInput {
  uintptr_t begin;   // of the first step's
  size_t bytes;      // of one step's
  ptrdiff_t stride;  // bytes from one step's to the next one's
  bool is_written;
};

// Tells the calls where to find their inputs.
using Bind = std::function<void(const std::vector<uintptr_t>&)>;

// Here every call is as good by itself.
inline Calls joined(Calls calls) { return calls; }

class Replayer {
 public:
  void run(Stream stream, const Calls& calls, const std::vector<ReplayInput>& inputs, int64_t steps, const Bind& bind) {
    std::vector<uintptr_t> begins(inputs.size());
    for (int64_t step = 0; step < steps; ++step) {
      for (size_t i = 0; i < inputs.size(); ++i) begins[i] = inputs[i].begin + step * inputs[i].stride;
      bind(begins);
      for (const auto& call : calls) call->run(stream);
    }
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
