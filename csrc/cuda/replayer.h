// How the calls of a plan run again on a GPU: as one CUDA graph.
#pragma once
#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "call.h"
#include "lanes.h"
#include "scratch.h"
#include "stream.h"

namespace minidl {

struct ReplayInput {
  uintptr_t begin;
  size_t bytes;
  bool is_written;
};

// A graph has the addresses of its first inputs. Others are copied to memory of the replayer's own, which the graph is
// then recorded with; where the calls write to an input, the graph is recorded anew for every other address instead.
class Replayer {
 public:
  Replayer() = default;
  Replayer(const Replayer&) = delete;
  Replayer& operator=(const Replayer&) = delete;
  ~Replayer();

  // Says where the calls shall find their inputs, and copies them there.
  void place(Stream stream, std::vector<ReplayInput>& inputs);
  // Launches the graph of the calls; records it first where an address has changed.
  void run(Stream stream, const Calls& calls);
  size_t longest_chain(const Calls& calls) const { return minidl::longest_chain(arrange_in_lanes(calls)); }

 private:
  struct Place {
    uintptr_t address = 0;
    void* own = nullptr;
  };
  void record(const Calls& calls);

  std::vector<Place> places_;
  cudaGraphExec_t graph_ = nullptr;
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
