// What the parts of the emulated runtime share: the state of the context, streams, recorded work.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda_runtime_api.h"

struct EmulatedEdge {
  cudaGraphNode_t from;
  cudaGraphEdgeData kind;  // kernels of the emulator never overlap, whatever it is
};

struct EmulatedGraphNode {
  cudaGraphNodeType type;
  std::function<cudaError_t()> work;
  std::vector<EmulatedEdge> after;
};

struct EmulatedGraph {
  std::vector<std::shared_ptr<EmulatedGraphNode>> nodes;  // each behind those that it follows
};

struct EmulatedStream {
  EmulatedGraph* recording = nullptr;
  std::vector<cudaGraphNode_t> tail;  // what the next node of the recording follows
  bool is_invalidated = false;        // something that cannot be recorded happened meanwhile
};

namespace emulator {

// One launch at a time, whichever Python thread it comes from; a kernel's fibers run on that thread.
extern std::recursive_mutex guard;

// Remembers an error for cudaGetLastError, as every runtime function does. A dead context answers for itself.
cudaError_t answer(cudaError_t error);
bool is_dead();
void die(const std::string& cause);

// Runs the work, or records it where the stream is recording.
cudaError_t submit(cudaStream_t stream, cudaGraphNodeType type, std::function<cudaError_t()> work);
// For calls that wait: an error, and the end of what is being recorded, where any stream records.
cudaError_t forbid_while_recording();
EmulatedStream& stream_of(cudaStream_t handle);

struct Limits {
  int major, minor;
  size_t shared_bytes;  // of a block that asks for it
};
Limits limits();

}  // namespace emulator
