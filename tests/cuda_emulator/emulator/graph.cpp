// Launches, and graphs of them: a stream that records appends to a graph what it would have run.
#include <algorithm>
#include <map>
#include <set>

#include "grid.h"
#include "order.h"
#include "runtime.h"

struct EmulatedGraphExec {
  EmulatedGraph graph;
};

namespace emulator {
namespace {

auto& dynamic_shared_limits = *new std::map<const void*, size_t>;  // of kernels that have asked for more than usual

bool is_launchable(const cudaLaunchConfig_t& config) {
  const dim3 &blocks = config.gridDim, &threads = config.blockDim;
  size_t block_threads = (size_t)threads.x * threads.y * threads.z;
  return block_threads >= 1 && block_threads <= 1024 && threads.z <= 64 && blocks.x >= 1 && blocks.y >= 1 &&
         blocks.z >= 1 && blocks.x <= 0x7fffffff && blocks.y <= 65535 && blocks.z <= 65535;
}

bool is_node(const EmulatedGraph& graph, cudaGraphNode_t node) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [=](const auto& own) { return own.get() == node; });
}

// The edge between two nodes; null where there is none.
const EmulatedEdge* edge(cudaGraphNode_t from, cudaGraphNode_t to) {
  auto found =
      std::find_if(to->after.begin(), to->after.end(), [=](const EmulatedEdge& edge) { return edge.from == from; });
  return found == to->after.end() ? nullptr : &*found;
}

// Whether every node is in the tail or has another behind it.
bool is_joined(const EmulatedGraph& graph, const std::vector<cudaGraphNode_t>& tail) {
  std::set<cudaGraphNode_t> followed(tail.begin(), tail.end());
  for (const auto& node : graph.nodes)
    for (const auto& edge : node->after) followed.insert(edge.from);
  return followed.size() == graph.nodes.size();
}

// The nodes one after the other, of those that may be next the one that the order of this run chooses.
cudaError_t run_nodes(const EmulatedGraph& graph) {
  Order order;
  std::set<cudaGraphNode_t> done;
  while (done.size() < graph.nodes.size()) {
    std::vector<EmulatedGraphNode*> ready;
    for (const auto& node : graph.nodes) {
      auto is_done = [&](cudaGraphNode_t other) { return done.count(other) > 0; };
      auto has_come = [&](const EmulatedEdge& edge) { return is_done(edge.from); };
      if (!is_done(node.get()) && std::all_of(node->after.begin(), node->after.end(), has_come))
        ready.push_back(node.get());
    }
    EmulatedGraphNode* next = nullptr;
    order.for_each((unsigned)ready.size(), [&](unsigned i) {
      next = ready[i];
      return false;
    });
    cudaError_t error = next->work();
    if (error != cudaSuccess) return error;
    done.insert(next);
  }
  return cudaSuccess;
}

void call_function(const void* function) { (*static_cast<const std::function<void()>*>(function))(); }

}  // namespace

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> call) {
  std::lock_guard lock(guard);
  if (is_dead()) return cudaErrorLaunchFailure;
  for (unsigned i = 0; i < config.numAttrs; ++i)
    if (config.attrs[i].id == cudaLaunchAttributeClusterDimension) return answer(cudaErrorNotSupported);
  if (!is_launchable(config)) return answer(cudaErrorInvalidConfiguration);
  auto asked = dynamic_shared_limits.find(kernel);
  if (config.dynamicSmemBytes > (asked == dynamic_shared_limits.end() ? static_shared_bytes : asked->second))
    return answer(cudaErrorInvalidValue);
  dim3 blocks = config.gridDim, threads = config.blockDim;
  size_t shared_bytes = config.dynamicSmemBytes;
  return submit(config.stream, cudaGraphNodeTypeKernel, [=] {
    std::string failure = run({blocks, threads, shared_bytes, limits().shared_bytes, call_function, &call});
    if (failure.empty()) return cudaSuccess;
    die(failure);
    return cudaErrorLaunchFailure;
  });
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  std::lock_guard lock(guard);
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return answer(cudaSuccess);
  if (value < 0 || (size_t)value > limits().shared_bytes) return answer(cudaErrorInvalidValue);
  dynamic_shared_limits[kernel] = (size_t)value;
  return answer(cudaSuccess);
}

}  // namespace emulator

using emulator::answer;

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode) {
  std::lock_guard lock(emulator::guard);
  if (!handle) return answer(cudaErrorStreamCaptureUnsupported);  // the default stream cannot record
  if (handle->recording) return answer(cudaErrorIllegalState);
  handle->recording = new EmulatedGraph;
  handle->tail.clear();
  return answer(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  std::lock_guard lock(emulator::guard);
  *graph = nullptr;
  EmulatedStream& stream = emulator::stream_of(handle);
  if (!stream.recording) return answer(cudaErrorIllegalState);
  bool is_invalidated = stream.is_invalidated;
  cudaError_t error = is_invalidated                                        ? cudaErrorStreamCaptureInvalidated
                      : emulator::is_joined(*stream.recording, stream.tail) ? cudaSuccess
                                                                            : cudaErrorStreamCaptureUnjoined;
  if (error != cudaSuccess)
    delete stream.recording;
  else
    *graph = stream.recording;
  stream.recording = nullptr;
  stream.is_invalidated = false;
  return answer(error);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  EmulatedStream& stream = emulator::stream_of(handle);
  *status = stream.is_invalidated ? cudaStreamCaptureStatusInvalidated
            : stream.recording    ? cudaStreamCaptureStatusActive
                                  : cudaStreamCaptureStatusNone;
  return answer(cudaSuccess);
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long*,
                                     cudaGraph_t* graph, const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData**, size_t* count) {
  std::lock_guard lock(emulator::guard);
  EmulatedStream& stream = emulator::stream_of(handle);
  if (graph) *graph = stream.recording;
  if (dependencies) *dependencies = stream.tail.data();
  if (count) *count = stream.tail.size();
  return cudaStreamIsCapturing(handle, status);
}

cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t handle, cudaGraphNode_t* dependencies,
                                                const cudaGraphEdgeData*, size_t count, unsigned flags) {
  std::lock_guard lock(emulator::guard);
  EmulatedStream& stream = emulator::stream_of(handle);
  if (!stream.recording || stream.is_invalidated) return answer(cudaErrorIllegalState);
  for (size_t i = 0; i < count; ++i)
    if (!emulator::is_node(*stream.recording, dependencies[i])) return answer(cudaErrorInvalidValue);
  std::vector<cudaGraphNode_t> given(dependencies, dependencies + count);  // may be what stream.tail holds
  if (flags == cudaStreamSetCaptureDependencies) stream.tail.clear();
  stream.tail.insert(stream.tail.end(), given.begin(), given.end());
  return answer(cudaSuccess);
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = graph->nodes.size();
  return answer(cudaSuccess);
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  *type = node->type;
  return answer(cudaSuccess);
}

cudaError_t cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t* from, cudaGraphNode_t* to, cudaGraphEdgeData* kinds,
                              size_t* count) {
  const size_t room = *count;
  *count = 0;
  for (const auto& node : graph->nodes)
    for (const auto& edge : node->after) {
      if (from && to && *count < room) from[*count] = edge.from, to[*count] = node.get(), kinds[*count] = edge.kind;
      ++*count;
    }
  return answer(cudaSuccess);
}

// As in CUDA a kernel can only be started early by a kernel, and an edge that exists is not added again.
cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, const cudaGraphNode_t* from, const cudaGraphNode_t* to,
                                     const cudaGraphEdgeData* kinds, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const bool is_early = kinds && kinds[i].type == cudaGraphDependencyTypeProgrammatic;
    const bool are_kernels = from[i]->type == cudaGraphNodeTypeKernel && to[i]->type == cudaGraphNodeTypeKernel;
    if (!emulator::is_node(*graph, from[i]) || !emulator::is_node(*graph, to[i]) || emulator::edge(from[i], to[i]) ||
        (is_early && (!are_kernels || kinds[i].from_port != cudaGraphKernelNodePortProgrammatic)))
      return answer(cudaErrorInvalidValue);
    to[i]->after.push_back({from[i], kinds ? kinds[i] : cudaGraphEdgeData{}});
  }
  return answer(cudaSuccess);
}

cudaError_t cudaGraphRemoveDependencies(cudaGraph_t, const cudaGraphNode_t* from, const cudaGraphNode_t* to,
                                        const cudaGraphEdgeData*, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const EmulatedEdge* edge = emulator::edge(from[i], to[i]);
    if (!edge) return answer(cudaErrorInvalidValue);
    to[i]->after.erase(to[i]->after.begin() + (edge - to[i]->after.data()));
  }
  return answer(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new EmulatedGraphExec{*graph};
  return answer(cudaSuccess);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return answer(cudaSuccess); }

// A graph launched into a stream that records becomes a node there.
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return emulator::submit(stream, cudaGraphNodeTypeGraph, [exec] { return emulator::run_nodes(exec->graph); });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return answer(cudaSuccess);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return answer(cudaSuccess);
}
