// Recording a plan's calls as a CUDA graph, and launching it.
#include "replayer.h"

#include <algorithm>

#include "check.h"

namespace minidl {

Replayer::~Replayer() {
  if (graph_) cudaGraphExecDestroy(graph_);
  if (long_graph_) cudaGraphExecDestroy(long_graph_);
  for (const Place& place : places_)
    if (place.own) cudaFree(place.own);
  for (char* stack : stacks_) cudaFree(stack);
}

namespace {

using Nodes = std::vector<cudaGraphNode_t>;

// What the next call that is recorded will follow.
Nodes tail_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status;
  const cudaGraphNode_t* nodes = nullptr;
  size_t count = 0;
  check(cudaStreamGetCaptureInfo(stream, &status, nullptr, nullptr, &nodes, nullptr, &count),
        "cudaStreamGetCaptureInfo");
  return Nodes(nodes, nodes + count);
}

void follow(cudaStream_t stream, Nodes nodes) {
  check(cudaStreamUpdateCaptureDependencies(stream, nodes.data(), nullptr, nodes.size(),
                                            cudaStreamSetCaptureDependencies),
        "cudaStreamUpdateCaptureDependencies");
}

// Calls into a stream that records, each behind those that it has to wait for; before(i) comes before call i.
template <typename Before>
void issue(const std::vector<const Call*>& calls, const std::vector<LanePlace>& places,
           const Stream (&lanes)[lane_count], const Before& before) {
  cudaStream_t stream = lanes[0].handle;
  std::vector<Nodes> tails;
  auto tails_of = [&](const std::vector<size_t>& waited_for) {
    Nodes nodes;
    for (size_t call : waited_for) nodes.insert(nodes.end(), tails[call].begin(), tails[call].end());
    return nodes;
  };
  for (size_t i = 0; i < calls.size(); ++i) {
    before(i);
    follow(stream, tails_of(places[i].after));
    calls[i]->run(lanes[places[i].lane]);
    tails.push_back(tail_of(stream));
  }
  follow(stream, tails_of(last_of_lanes(places)));  // nothing may be left that the recording does not end with
}

bool is_kernel(cudaGraphNode_t node) {
  cudaGraphNodeType type;
  check(cudaGraphNodeGetType(node, &type), "cudaGraphNodeGetType");
  return type == cudaGraphNodeTypeKernel;
}

// Lets every kernel start as soon as all blocks of the kernels that it follows run: it waits for their end by itself
// (follow_earlier_kernels in ptx.cuh).
void start_kernels_early(cudaGraph_t graph) {
  size_t count = 0;
  check(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &count), "cudaGraphGetEdges");
  Nodes from(count), to(count);
  std::vector<cudaGraphEdgeData> kinds(count);
  check(cudaGraphGetEdges(graph, from.data(), to.data(), kinds.data(), &count), "cudaGraphGetEdges");
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i)
    if (is_kernel(from[i]) && is_kernel(to[i])) {
      from[kept] = from[i], to[kept] = to[i], kinds[kept] = kinds[i];
      ++kept;
    }
  check(cudaGraphRemoveDependencies(graph, from.data(), to.data(), kinds.data(), kept), "cudaGraphRemoveDependencies");
  cudaGraphEdgeData early = {};
  early.from_port = cudaGraphKernelNodePortProgrammatic;
  early.type = cudaGraphDependencyTypeProgrammatic;
  kinds.assign(kept, early);
  check(cudaGraphAddDependencies(graph, from.data(), to.data(), kinds.data(), kept), "cudaGraphAddDependencies");
}

// Where the input of each step begins in memory of several; kernels find it as well aligned as any array.
size_t pitch_of(const ReplayInput& input) { return (input.bytes + 255) / 256 * 256; }

void copy(Stream stream, void* to, uintptr_t from, size_t bytes) {
  check(cudaMemcpyAsync(to, (const void*)from, bytes, cudaMemcpyDeviceToDevice, stream.handle),
        "cudaMemcpyAsync of a captured step's input");
}

void copy_steps(Stream stream, char* to, const ReplayInput& input, int64_t first) {
  uintptr_t from = input.begin + first * input.stride;
  constexpr ptrdiff_t longest_pitch = 0x7fffffff;  // that CUDA takes
  if (input.bytes == 0) return;
  if (input.stride >= (ptrdiff_t)input.bytes && input.stride <= longest_pitch) {
    check(cudaMemcpy2DAsync(to, pitch_of(input), (const void*)from, input.stride, input.bytes, steps_per_graph,
                            cudaMemcpyDeviceToDevice, stream.handle),
          "cudaMemcpy2DAsync of a captured step's inputs");
    return;
  }
  for (int64_t step = 0; step < steps_per_graph; ++step)
    copy(stream, to + step * pitch_of(input), from + step * input.stride, input.bytes);
}

}  // namespace

template <typename Begins>
cudaGraphExec_t Replayer::record(const Calls& calls, int64_t steps, const Bind& bind, const Begins& begins) {
  struct Recording {
    cudaStream_t stream = nullptr;
    cudaGraph_t graph = nullptr;
    ~Recording() {
      if (graph) cudaGraphDestroy(graph);
      if (stream) cudaStreamDestroy(stream);
    }
  } recording;
  check(cudaStreamCreateWithFlags(&recording.stream, cudaStreamNonBlocking), "cudaStreamCreate");
  const auto order = in_order(calls, steps);
  const auto places = arrange_in_lanes(order);
  Stream lanes[lane_count];
  for (int lane = 0; lane < lane_count; ++lane) lanes[lane] = scratch_[lane].stream(recording.stream);
  check(cudaStreamBeginCapture(recording.stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    issue(order, places, lanes, [&](size_t i) {
      if (i % calls.size() == 0) bind(begins((int64_t)(i / calls.size())));
    });
  } catch (...) {
    cudaStreamEndCapture(recording.stream, &recording.graph);
    throw;
  }
  check(cudaStreamEndCapture(recording.stream, &recording.graph), "cudaStreamEndCapture");
  if (lanes[0].has_early_starts) start_kernels_early(recording.graph);
  cudaGraphExec_t graph = nullptr;
  check(cudaGraphInstantiate(&graph, recording.graph, 0), "cudaGraphInstantiate");
  return graph;
}

void Replayer::run_one(Stream stream, const Calls& calls, const std::vector<ReplayInput>& inputs, int64_t step,
                       const Bind& bind) {
  bool has_moved = false;
  places_.resize(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const ReplayInput& input = inputs[i];
    uintptr_t begin = input.begin + step * input.stride;
    Place& place = places_[i];
    if (place.address == begin) continue;
    bool is_first = place.address == 0;
    if (is_first || input.is_written) {
      place.address = begin;
      has_moved = true;
      continue;
    }
    if (!place.own) {
      check(cudaMalloc(&place.own, input.bytes + 1), "cudaMalloc of a captured step's input");
      place.address = (uintptr_t)place.own;
      has_moved = true;
    }
    copy(stream, place.own, begin, input.bytes);
  }
  if (has_moved && graph_) {
    check(cudaGraphExecDestroy(graph_), "cudaGraphExecDestroy");
    graph_ = nullptr;
  }
  if (!graph_)
    graph_ = record(calls, 1, bind, [&](int64_t) {
      std::vector<uintptr_t> begins;
      for (const Place& place : places_) begins.push_back(place.address);
      return begins;
    });
  check(cudaGraphLaunch(graph_, stream.handle), "cudaGraphLaunch");
}

void Replayer::run_several(Stream stream, const Calls& calls, const std::vector<ReplayInput>& inputs, int64_t first,
                           const Bind& bind) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (stacks_.size() == i) {
      void* stack = nullptr;
      check(cudaMalloc(&stack, pitch_of(inputs[i]) * steps_per_graph + 1), "cudaMalloc of a captured step's inputs");
      stacks_.push_back((char*)stack);
    }
    copy_steps(stream, stacks_[i], inputs[i], first);
  }
  if (!long_graph_)
    long_graph_ = record(calls, steps_per_graph, bind, [&](int64_t step) {
      std::vector<uintptr_t> begins;
      for (size_t i = 0; i < inputs.size(); ++i) begins.push_back((uintptr_t)stacks_[i] + step * pitch_of(inputs[i]));
      return begins;
    });
  check(cudaGraphLaunch(long_graph_, stream.handle), "cudaGraphLaunch");
}

namespace {

size_t stacked_bytes(const std::vector<ReplayInput>& inputs) {
  size_t bytes = 0;
  for (const ReplayInput& input : inputs) bytes += pitch_of(input) * steps_per_graph;
  return bytes;
}

// Whether a step may change what a later one takes: then all are not to be copied before the first one.
bool changes_inputs(const Calls& calls, const std::vector<ReplayInput>& inputs, int64_t steps) {
  for (const ReplayInput& input : inputs) {
    if (input.is_written) return true;
    uintptr_t last = input.begin + (steps - 1) * input.stride;
    Extent all{std::min(input.begin, last), std::max(input.begin, last) + input.bytes};
    for (const auto& call : calls)
      for (const Extent& written : call->writes)
        if (written.overlaps(all)) return true;
  }
  return false;
}

}  // namespace

void Replayer::run(Stream stream, const Calls& calls, const std::vector<ReplayInput>& inputs, int64_t steps,
                   const Bind& bind) {
  int64_t step = 0;
  if (steps >= steps_per_graph && stacked_bytes(inputs) <= most_stacked_bytes && !changes_inputs(calls, inputs, steps))
    for (; steps - step >= steps_per_graph; step += steps_per_graph) run_several(stream, calls, inputs, step, bind);
  for (; step < steps; ++step) run_one(stream, calls, inputs, step, bind);
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
