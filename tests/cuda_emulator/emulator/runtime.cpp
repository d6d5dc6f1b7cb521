// The emulated runtime: errors, memory, streams, events.
#include "runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

namespace emulator {

std::recursive_mutex guard;

namespace {

cudaError_t last_error = cudaSuccess;
std::string cause_of_death;
EmulatedStream default_stream;
std::set<EmulatedStream*> streams{&default_stream};

}  // namespace

bool is_dead() { return !cause_of_death.empty(); }

void die(const std::string& cause) {
  if (cause_of_death.empty()) cause_of_death = cause;
}

cudaError_t answer(cudaError_t error) {
  std::lock_guard lock(guard);
  if (is_dead()) return cudaErrorLaunchFailure;
  if (error != cudaSuccess && error != cudaErrorNotReady) last_error = error;
  return error;
}

EmulatedStream& stream_of(cudaStream_t handle) { return handle ? *handle : default_stream; }

cudaError_t submit(cudaStream_t handle, cudaGraphNodeType type, std::function<cudaError_t()> work) {
  std::lock_guard lock(guard);
  if (is_dead()) return cudaErrorLaunchFailure;
  EmulatedStream& stream = stream_of(handle);
  if (stream.is_invalidated) return answer(cudaErrorStreamCaptureInvalidated);
  if (stream.recording) {
    auto node = std::make_shared<EmulatedGraphNode>(EmulatedGraphNode{type, std::move(work), {}});
    for (cudaGraphNode_t earlier : stream.tail) node->after.push_back({earlier, {}});
    stream.tail = {node.get()};
    stream.recording->nodes.push_back(std::move(node));
    return cudaSuccess;
  }
  return answer(work());
}

cudaError_t forbid_while_recording() {
  std::lock_guard lock(guard);
  bool is_recording = false;
  for (EmulatedStream* stream : streams)
    if (stream->recording) is_recording = stream->is_invalidated = true;
  return answer(is_recording ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

}  // namespace emulator

using emulator::answer;

// ---- errors
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define NAME(name) \
  case name:       \
    return #name;
    NAME(cudaSuccess)
    NAME(cudaErrorInvalidValue)
    NAME(cudaErrorMemoryAllocation)
    NAME(cudaErrorInvalidConfiguration)
    NAME(cudaErrorInvalidDevice)
    NAME(cudaErrorInvalidResourceHandle)
    NAME(cudaErrorIllegalState)
    NAME(cudaErrorNotReady)
    NAME(cudaErrorLaunchFailure)
    NAME(cudaErrorNotSupported)
    NAME(cudaErrorStreamCaptureUnsupported)
    NAME(cudaErrorStreamCaptureInvalidated)
    NAME(cudaErrorStreamCaptureUnmatched)
    NAME(cudaErrorStreamCaptureUnjoined)
#undef NAME
    default:
      return "an error that the emulator never gives";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorLaunchFailure:
      return emulator::is_dead() ? emulator::cause_of_death.c_str() : "unspecified launch failure";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    default:
      return cudaGetErrorName(error);
  }
}

cudaError_t cudaPeekAtLastError() { return emulator::is_dead() ? cudaErrorLaunchFailure : emulator::last_error; }

cudaError_t cudaGetLastError() {
  cudaError_t error = cudaPeekAtLastError();
  emulator::last_error = cudaSuccess;
  return error;
}

cudaError_t cudaDeviceReset() {
  emulator::cause_of_death.clear();
  emulator::last_error = cudaSuccess;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() { return emulator::forbid_while_recording(); }

// ---- memory
cudaError_t cudaMalloc(void** data, size_t bytes) {
  *data = nullptr;
  cudaError_t error = emulator::forbid_while_recording();
  if (error != cudaSuccess || bytes == 0) return error;
  if (posix_memalign(data, 256, bytes) != 0) return answer(cudaErrorMemoryAllocation);
  std::memset(*data, 0xff, bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* data) {
  std::free(data);
  return answer(cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t* free_bytes, size_t* total_bytes) {
  size_t page = sysconf(_SC_PAGESIZE);
  *free_bytes = sysconf(_SC_AVPHYS_PAGES) * page;
  *total_bytes = sysconf(_SC_PHYS_PAGES) * page;
  return answer(cudaSuccess);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  cudaError_t error = emulator::forbid_while_recording();
  if (error == cudaSuccess) std::memmove(to, from, bytes);
  return error;
}

cudaError_t cudaMemset(void* data, int value, size_t bytes) {
  cudaError_t error = emulator::forbid_while_recording();
  if (error == cudaSuccess) std::memset(data, value, bytes);
  return error;
}

// ---- streams
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  std::lock_guard lock(emulator::guard);
  *stream = new EmulatedStream;
  emulator::streams.insert(*stream);
  return answer(cudaSuccess);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::lock_guard lock(emulator::guard);
  if (!stream || !emulator::streams.erase(stream)) return answer(cudaErrorInvalidResourceHandle);
  delete stream->recording;
  delete stream;
  return answer(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  EmulatedStream& emulated = emulator::stream_of(stream);
  if (!emulated.recording) return answer(cudaSuccess);
  emulated.is_invalidated = true;
  return answer(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return emulator::submit(stream, cudaGraphNodeTypeMemcpy, [=] {
    std::memmove(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t bytes, size_t rows,
                              cudaMemcpyKind, cudaStream_t stream) {
  if (bytes > to_pitch || bytes > from_pitch) return answer(cudaErrorInvalidPitchValue);
  return emulator::submit(stream, cudaGraphNodeTypeMemcpy, [=] {
    for (size_t row = 0; row < rows; ++row)
      std::memmove((char*)to + row * to_pitch, (const char*)from + row * from_pitch, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaMemsetAsync(void* data, int value, size_t bytes, cudaStream_t stream) {
  return emulator::submit(stream, cudaGraphNodeTypeMemset, [=] {
    if (bytes > 0) std::memset(data, value, bytes);
    return cudaSuccess;
  });
}

// ---- events
struct EmulatedEvent {
  std::chrono::steady_clock::time_point time;
};

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new EmulatedEvent;
  return answer(cudaSuccess);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return answer(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return emulator::submit(stream, cudaGraphNodeTypeEventRecord, [=] {
    event->time = std::chrono::steady_clock::now();
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t) { return answer(cudaSuccess); }

cudaError_t cudaEventQuery(cudaEvent_t) { return answer(cudaSuccess); }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return answer(cudaSuccess);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return answer(cudaSuccess); }
