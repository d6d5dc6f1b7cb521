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

// Calls into a stream that records, each behind those that it has to wait for.
void issue(const Calls& calls, const std::vector<LanePlace>& places, const Stream (&lanes)[lane_count]) {
  cudaStream_t stream = lanes[0].handle;
  std::vector<Nodes> tails;
  auto tails_of = [&](const std::vector<size_t>& waited_for) {
    Nodes nodes;
    for (size_t call : waited_for) nodes.insert(nodes.end(), tails[call].begin(), tails[call].end());
    return nodes;
  };
  for (size_t i = 0; i < calls.size(); ++i) {
    follow(stream, tails_of(places[i].after));
    calls[i]->run(lanes[places[i].lane]);
    tails.push_back(tail_of(stream));
  }
  follow(stream, tails_of(last_of_lanes(places)));  // nothing may be left that the recording does not end with
}

// From this compute capability on a kernel can start while the one that it follows still runs.
constexpr int least_major_for_early_starts = 9;

bool has_early_starts() {
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  return major >= least_major_for_early_starts;
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
  for (size_t i = 0; i < count; ++i) {
    if (!is_kernel(from[i]) || !is_kernel(to[i])) continue;
    check(cudaGraphRemoveDependencies(graph, &from[i], &to[i], &kinds[i], 1), "cudaGraphRemoveDependencies");
    cudaGraphEdgeData early = {};
    early.from_port = cudaGraphKernelNodePortProgrammatic;
    early.type = cudaGraphDependencyTypeProgrammatic;
    check(cudaGraphAddDependencies(graph, &from[i], &to[i], &early, 1), "cudaGraphAddDependencies");
  }
}

}  // namespace

void Replayer::record(const Calls& calls) {
  struct Recording {
    cudaStream_t stream = nullptr;
    cudaGraph_t graph = nullptr;
    ~Recording() {
      if (graph) cudaGraphDestroy(graph);
      if (stream) cudaStreamDestroy(stream);
    }
  } recording;
  check(cudaStreamCreateWithFlags(&recording.stream, cudaStreamNonBlocking), "cudaStreamCreate");
  const auto places = arrange_in_lanes(calls);
  Stream lanes[lane_count];
  for (int lane = 0; lane < lane_count; ++lane) lanes[lane] = scratch_[lane].stream(recording.stream);
  check(cudaStreamBeginCapture(recording.stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  try {
    issue(calls, places, lanes);
  } catch (...) {
    cudaStreamEndCapture(recording.stream, &recording.graph);
    throw;
  }
  check(cudaStreamEndCapture(recording.stream, &recording.graph), "cudaStreamEndCapture");
  if (has_early_starts()) start_kernels_early(recording.graph);
  check(cudaGraphInstantiate(&graph_, recording.graph, 0), "cudaGraphInstantiate");
}

void Replayer::run(Stream stream, const Calls& calls) {
  if (!graph_) record(calls);
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
