// The thread pool: workers spin briefly for the next region, then sleep on a futex-backed atomic; rebuilt after fork.
#include "parallel.h"

#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace minidl {
namespace {

constexpr int max_threads = 256;
// About 50 us on a 3 GHz core: longer than the gap between the kernels of a training step, short enough that an idle
// process costs nothing.
constexpr int spins_before_sleep = 2000;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

thread_local bool inside_region = false;

struct alignas(64) Counter {
  std::atomic<uint32_t> value{0};
};

struct Pool {
  std::mutex in_use;  // held by the thread that runs a region
  alignas(64) std::atomic<uint32_t> generation{0};
  alignas(64) std::atomic<int> running{0};
  alignas(64) std::atomic<int> sleepers{0};
  Counter arrived[max_threads];  // barrier: how often each part has arrived
  void (*body)(void*, int, int) = nullptr;
  void* context = nullptr;
  int parts = 0;
  int workers = 0;  // threads started, not counting the caller

  void work(int part, uint32_t seen) {
    inside_region = true;
    for (;;) {
      wait_for_region(seen);
      seen = generation.load(std::memory_order_acquire);
      if (part < parts) body(context, part, parts);
      running.fetch_sub(1, std::memory_order_release);
    }
  }

  void wait_for_region(uint32_t seen) {
    for (int spin = 0; spin < spins_before_sleep; ++spin) {
      if (generation.load(std::memory_order_acquire) != seen) return;
      relax();
    }
    sleepers.fetch_add(1);
    generation.wait(seen);
    sleepers.fetch_sub(1);
  }

  void start_workers(int wanted) {
    for (; workers < wanted; ++workers) std::thread(&Pool::work, this, workers + 1, generation.load()).detach();
  }

  void run(int wanted, void (*new_body)(void*, int, int), void* new_context) {
    start_workers(wanted - 1);
    body = new_body;
    context = new_context;
    parts = wanted;
    for (int part = 0; part < parts; ++part) arrived[part].value.store(0, std::memory_order_relaxed);
    // Every worker reports, also those without a part: none may still look at this region when the next one begins.
    running.store(workers, std::memory_order_relaxed);
    generation.fetch_add(1);
    if (sleepers.load() > 0) generation.notify_all();
    body(context, 0, parts);
    wait_until([this] { return running.load(std::memory_order_acquire) == 0; });
  }

  template <typename Condition>
  static void wait_until(Condition holds) {
    for (int spin = 0; !holds(); ++spin) {
      if (spin % 4096 == 4095)
        std::this_thread::yield();  // more threads than cores: let the one we wait for run
      else
        relax();
    }
  }
};

// Never destroyed: workers may still sleep in it while the process exits.
Pool* pool = nullptr;
std::once_flag pool_once;
std::atomic<int> threads{0};

Pool& the_pool() {
  std::call_once(pool_once, [] {
    pool = new Pool;
    // A forked child has none of the threads; it starts over with a pool of its own.
    pthread_atfork(nullptr, nullptr, [] {
      pool = new Pool;
      inside_region = false;
    });
  });
  return *pool;
}

}  // namespace

int thread_count() {
  if (int count = threads.load(std::memory_order_relaxed)) return count;
  int count = (int)std::thread::hardware_concurrency();
  set_thread_count(count > 0 ? count : 1);
  return threads.load(std::memory_order_relaxed);
}

void set_thread_count(int count) { threads.store(count < max_threads ? count : max_threads); }

bool acquire_pool(int parts) { return parts <= max_threads && !inside_region && the_pool().in_use.try_lock(); }

void release_pool() { pool->in_use.unlock(); }

void run_acquired(int parts, void (*body)(void*, int, int), void* context) {
  inside_region = true;
  pool->run(parts, body, context);
  inside_region = false;
}

void run_parallel(int parts, void (*body)(void*, int, int), void* context) {
  if (parts > 1 && acquire_pool(parts)) {
    run_acquired(parts, body, context);
    release_pool();
    return;
  }
  for (int part = 0; part < parts; ++part) body(context, part, parts);
}

void pool_barrier(int part, int parts) {
  uint32_t mine = pool->arrived[part].value.load(std::memory_order_relaxed) + 1;
  pool->arrived[part].value.store(mine, std::memory_order_release);
  for (int other = 0; other < parts; ++other)
    Pool::wait_until([=] { return (int32_t)(pool->arrived[other].value.load(std::memory_order_acquire) - mine) >= 0; });
}

}  // namespace minidl
