// Splitting loops over the thread pool. Chunks never change a result: kernels treat every element alike, wherever a
// chunk ends, and never split a sum by thread.
#pragma once
#include <stdint.h>

#include "stream.h"

namespace minidl {

// Runs body(context, part) once for every part in [0, parts), on the calling thread and up to parts - 1 others, and
// returns when all are done. Each thread takes its own part, the same one for the same number of parts: what that reads
// it has often written itself, and has in its cache. Where the machine is busy and a worker comes late, the caller
// takes its part as well. So parts must not wait for each other. A call from inside a part, or while another thread
// uses the pool, runs its parts one after the other. All run in the caller's floating-point mode.
void run_parallel(int parts, void (*body)(void* context, int part), void* context);

// Whether it costs little to share work that is not worth waking a thread for: one is awake, or soon will be, because
// this question comes again and again. For a program that computes only now and then the answer is no.
bool is_easily_shared();

int thread_count();
void set_thread_count(int threads);

}  // namespace minidl

#ifdef MINIDL_TARGET
namespace MINIDL_TARGET {
namespace {

// body(part) for every part in [0, parts).
template <typename Body>
inline void parallel_parts(int parts, const Body& body) {
  if (parts <= 1) {
    if (parts == 1) body(0);
    return;
  }
  minidl::run_parallel(parts, [](void* opaque, int part) { (*(const Body*)opaque)(part); }, (void*)&body);
}

// Into how many parts work of `size` elements is divided; grain is the number of elements that are worth waking a
// thread for.
inline int worthwhile_parts(minidl::Stream stream, int64_t size, int64_t grain) {
  int64_t parts = size / (grain > 0 ? grain : 1);
  return parts > stream.threads ? stream.threads : parts > 1 ? (int)parts : 1;
}

// body(begin, end) over [0, size) in chunks of whole blocks, one for each worthwhile part.
template <typename Body>
inline void parallel_for(minidl::Stream stream, int64_t size, int64_t grain, const Body& body, int64_t block = 64) {
  int parts = worthwhile_parts(stream, size, grain);
  if (parts <= 1) {
    if (size > 0) body((int64_t)0, size);
    return;
  }
  int64_t blocks = (size + block - 1) / block;
  parallel_parts(parts, [&](int part) {
    int64_t begin = blocks * part / parts * block;
    int64_t end = blocks * (part + 1) / parts * block;
    if (end > size) end = size;
    if (begin < end) body(begin, end);
  });
}

// The grain for work of `size` elements, `grain` of which are worth waking a thread for: half of that are worth sharing
// with one that is awake.
inline int64_t grain_at_present(minidl::Stream stream, int64_t size, int64_t grain) {
  const bool is_too_little_to_wake = size >= grain && size < 2 * grain;
  return is_too_little_to_wake && stream.threads > 1 && minidl::is_easily_shared() ? grain / 2 : grain;
}

}  // namespace
}  // namespace MINIDL_TARGET
#endif
