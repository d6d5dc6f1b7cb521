// How the calls of a plan run again on a GPU: as a CUDA graph of one step, or of several.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "call.h"
#include "join.h"
#include "lanes.h"
#include "scratch.h"
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

// Steps in a graph of several. On an H200 a launch takes 5 us of the host's time, and the step of a small network 40 us
// of the GPU's; beyond, there is nothing to gain.
constexpr int64_t steps_per_graph = 16;
// Memory for the inputs of a graph of several steps; steps with larger ones take longer than launching them.
constexpr size_t most_stacked_bytes = size_t(64) << 20;

// The graph of one step has the addresses of its first inputs. Others are copied to memory of the replayer's own, with
// which the graph is then recorded; where the calls write to an input, it is recorded anew for every other address
// instead. The graph of several steps has its inputs in memory of its own, and none that is written.
class Replayer {
 public:
  Replayer() = default;
  Replayer(const Replayer&) = delete;
  Replayer& operator=(const Replayer&) = delete;
  ~Replayer();

  // Launches graphs of the calls for so many steps; records them first where there are none for these inputs.
  void run(Stream stream, const Calls& calls, const std::vector<ReplayInput>& inputs, int64_t steps, const Bind& bind);
  size_t longest_chain(const Calls& calls) const { return minidl::longest_chain(arrange_in_lanes(in_order(calls, 1))); }

 private:
  struct Place {
    uintptr_t address = 0;
    void* own = nullptr;
  };
  void run_one(Stream stream, const Calls& calls, const std::vector<ReplayInput>& inputs, int64_t step,
               const Bind& bind);
  void run_several(Stream stream, const Calls& calls, const std::vector<ReplayInput>& inputs, int64_t first,
                   const Bind& bind);
  // begins(step): where the inputs of a step are.
  template <typename Begins>
  cudaGraphExec_t record(const Calls& calls, int64_t steps, const Bind& bind, const Begins& begins);

  std::vector<Place> places_;
  std::vector<char*> stacks_;  // the inputs of several steps, each behind the other
  cudaGraphExec_t graph_ = nullptr, long_graph_ = nullptr;
  Scratch scratch_[lane_count];  // its own, so that calls that run at the same time do not meet
};

// Seconds that a stream takes from start() on.
class Stopwatch {
 public:
  Stopwatch();
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch();
  void start(Stream stream);
  double seconds(Stream stream);

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace minidl
