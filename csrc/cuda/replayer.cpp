// Recording a plan's calls as a CUDA graph, and launching it.
#include "replayer.h"

#include "check.h"

namespace minidl {

Replayer::~Replayer() {
  if (graph_) cudaGraphExecDestroy(graph_);
  for (const Place& place : places_)
    if (place.own) cudaFree(place.own);
}

void Replayer::place(Stream stream, std::vector<ReplayInput>& inputs) {
  bool has_moved = false;
  places_.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    ReplayInput& input = inputs[i];
    Place& place = places_[i];
    if (place.address != input.begin) {
      bool is_first = place.address == 0;
      if (is_first || input.is_written) {
        place.address = input.begin;
        has_moved = true;
      } else {
        if (!place.own) {
          check(cudaMalloc(&place.own, input.bytes + 1), "cudaMalloc of a captured step's input");
          place.address = (uintptr_t)place.own;
          has_moved = true;
        }
        check(
            cudaMemcpyAsync(place.own, (const void*)input.begin, input.bytes, cudaMemcpyDeviceToDevice, stream.handle),
            "cudaMemcpyAsync of a captured step's input");
      }
    }
    input.begin = place.address;
  }
  if (has_moved && graph_) {
    check(cudaGraphExecDestroy(graph_), "cudaGraphExecDestroy");
    graph_ = nullptr;
  }
}

void Replayer::record(const std::function<void(Stream)>& issue_calls) {
  struct Recording {
    cudaStream_t stream = nullptr;
    cudaGraph_t graph = nullptr;
    ~Recording() {
      if (graph) cudaGraphDestroy(graph);
      if (stream) cudaStreamDestroy(stream);
    }
  } recording;
  check(cudaStreamCreateWithFlags(&recording.stream, cudaStreamNonBlocking), "cudaStreamCreate");
  Stream stream = scratch_.stream(recording.stream);
  check(cudaStreamBeginCapture(recording.stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    issue_calls(stream);
  } catch (...) {
    cudaStreamEndCapture(recording.stream, &recording.graph);
    throw;
  }
  check(cudaStreamEndCapture(recording.stream, &recording.graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&graph_, recording.graph, 0), "cudaGraphInstantiate");
}

void Replayer::run(Stream stream, const std::function<void(Stream)>& issue_calls) {
  if (!graph_) record(issue_calls);
  check(cudaGraphLaunch(graph_, stream.handle), "cudaGraphLaunch");
}

Stopwatch::Stopwatch() {
  check(cudaEventCreate(&begin_), "cudaEventCreate");
  check(cudaEventCreate(&end_), "cudaEventCreate");
}

Stopwatch::~Stopwatch() {
  if (begin_) cudaEventDestroy(begin_);
  if (end_) cudaEventDestroy(end_);
}

void Stopwatch::start(Stream stream) { check(cudaEventRecord(begin_, stream.handle), "cudaEventRecord"); }

double Stopwatch::seconds(Stream stream) {
  float milliseconds = 0;
  check(cudaEventRecord(end_, stream.handle), "cudaEventRecord");
  check(cudaEventSynchronize(end_), "cudaEventSynchronize");
  check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
  return milliseconds * 1e-3;
}

}  // namespace minidl
