// Splitting loops over the thread pool. Chunks never change a result: kernels treat every element alike, wherever a
// chunk ends, and never split a sum by thread.
#pragma once
#include <stdint.h>

#include "stream.h"

namespace minidl {

// Runs body(context, part, parts) for every part < parts, part 0 on the calling thread. A call from inside a parallel
// region, or while another thread uses the pool, runs its parts one after the other - then barrier() must not be used,
// which may_use_barrier() tells.
void run_parallel(int parts, void (*body)(void* context, int part, int parts), void* context);

// True when run_parallel(parts, ...) called now would run all parts at the same time; holds the pool until released.
bool acquire_pool(int parts);
void release_pool();
void run_acquired(int parts, void (*body)(void* context, int part, int parts), void* context);
// Waits for all parts of the running region.
void pool_barrier(int part, int parts);

int thread_count();
void set_thread_count(int threads);

}  // namespace minidl

#ifdef MINIDL_TARGET
namespace MINIDL_TARGET {
namespace {

// body(begin, end) over [0, size) in chunks of whole blocks; one thread when size < 2 * grain. grain is the number of
// elements that are worth waking a thread for.
template <typename Body>
inline void parallel_for(minidl::Stream stream, int64_t size, int64_t grain, Body body, int64_t block = 64) {
  int64_t parts = size / (grain > 0 ? grain : 1);
  if (parts > stream.threads) parts = stream.threads;
  if (parts <= 1) {
    if (size > 0) body((int64_t)0, size);
    return;
  }
  struct Context {
    Body* body;
    int64_t size, block;
  } context{&body, size, block};
  minidl::run_parallel((int)parts,
                       [](void* opaque, int part, int parts) {
                         auto& c = *(Context*)opaque;
                         int64_t blocks = (c.size + c.block - 1) / c.block;
                         int64_t begin = blocks * part / parts * c.block;
                         int64_t end = blocks * (part + 1) / parts * c.block;
                         if (end > c.size) end = c.size;
                         if (begin < end) (*c.body)(begin, end);
                       },
                       &context);
}

// One member of a group of threads that run the same body and may wait for each other.
struct Team {
  int part, parts;
  void barrier() const {
    if (parts > 1) minidl::pool_barrier(part, parts);
  }
};

// body(Team) on `parts` threads at once, or as a team of one when the pool is busy.
template <typename Body>
inline void parallel_team(int parts, Body body) {
  if (parts <= 1 || !minidl::acquire_pool(parts)) {
    body(Team{0, 1});
    return;
  }
  minidl::run_acquired(parts, [](void* opaque, int part, int parts) { (*(Body*)opaque)(Team{part, parts}); }, &body);
  minidl::release_pool();
}

}  // namespace
}  // namespace MINIDL_TARGET
#endif
