// The thread pool: workers spin briefly for the next region, then sleep on a futex; a forked child starts a new pool.
#include "parallel.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <mutex>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace minidl {
namespace {

constexpr int max_threads = 256;
// About 30 us on a Zen 4 core: longer than the gap between the kernels of a training step, short enough that an idle
// process costs nothing.
constexpr int spins_before_sleep = 2000;

thread_local bool inside_part = false;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// The running region, and which of its parts is the next to be taken, in one word: a worker that comes late can never
// take a part of a region that it has not seen.
struct Claim {
  static constexpr int part_bits = 16;
  uint32_t region;
  uint16_t parts, next;
  static Claim unpack(uint64_t word) {
    return {(uint32_t)(word >> 2 * part_bits), (uint16_t)(word >> part_bits), (uint16_t)word};
  }
  uint64_t pack() const { return (uint64_t)region << 2 * part_bits | (uint64_t)parts << part_bits | next; }
};

// Each worker watches a line of its own: a region of few parts does not disturb the others.
struct alignas(64) Worker {
  std::atomic<uint32_t> calls{0};
  std::atomic<bool> is_asleep{false};
  pthread_t thread;
  int avoided_cpu = -1;

  void wait_for_call(uint32_t seen) {
    for (int spin = 0; spin < spins_before_sleep; ++spin) {
      if (calls.load(std::memory_order_acquire) != seen) return;
      relax();
    }
    is_asleep.store(true);
    calls.wait(seen);
    is_asleep.store(false);
  }

  void call() {
    calls.fetch_add(1);
    if (!is_asleep.load()) return;
    avoid_this_cpu();
    calls.notify_one();
  }

  // The kernel likes to wake a thread on the core of the one that wakes it, where it would wait until the caller has
  // done all the work by itself, call after call.
  void avoid_this_cpu() {
#if defined(__linux__)
    int cpu = sched_getcpu();
    cpu_set_t allowed;
    if (cpu == avoided_cpu || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    CPU_CLR(cpu, &allowed);
    if (CPU_COUNT(&allowed) > 0) pthread_setaffinity_np(thread, sizeof allowed, &allowed);
    avoided_cpu = cpu;
#endif
  }
};

struct Pool {
  std::mutex in_use;  // held by the thread that runs a region
  alignas(64) std::atomic<uint64_t> claim{0};
  alignas(64) std::atomic<int> unfinished{0};
  void (*body)(void*, int) = nullptr;
  void* context = nullptr;
  Worker workers[max_threads];
  int started = 0;

  // A region ends only when all its parts are done, so what is read after a part was taken belongs to that region.
  void take_parts() {
    uint64_t word = claim.load(std::memory_order_acquire);
    for (;;) {
      Claim seen = Claim::unpack(word);
      if (seen.next >= seen.parts) return;
      Claim taken{seen.region, seen.parts, (uint16_t)(seen.next + 1)};
      if (!claim.compare_exchange_weak(word, taken.pack(), std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      body(context, seen.next);
      unfinished.fetch_sub(1, std::memory_order_release);
      word = claim.load(std::memory_order_acquire);
    }
  }

  void work(int number) {
    inside_part = true;
    for (uint32_t seen = 0;;) {
      workers[number].wait_for_call(seen);
      seen = workers[number].calls.load(std::memory_order_acquire);
      take_parts();
    }
  }

  void run(int parts, void (*new_body)(void*, int), void* new_context) {
    int helpers = parts - 1 < max_threads ? parts - 1 : max_threads;
    for (; started < helpers; ++started) {
      std::thread thread(&Pool::work, this, started);
      workers[started].thread = thread.native_handle();
      thread.detach();
    }
    body = new_body;
    context = new_context;
    unfinished.store(parts, std::memory_order_relaxed);
    uint32_t region = Claim::unpack(claim.load(std::memory_order_relaxed)).region + 1;
    claim.store(Claim{region, (uint16_t)parts, 0}.pack(), std::memory_order_release);
    for (int helper = 0; helper < helpers; ++helper) workers[helper].call();
    take_parts();
    for (int spin = 1; unfinished.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin % 1024 == 0)
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
      inside_part = false;
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

void run_parallel(int parts, void (*body)(void*, int), void* context) {
  if (parts > 1 && !inside_part && the_pool().in_use.try_lock()) {
    inside_part = true;
    pool->run(parts, body, context);
    inside_part = false;
    pool->in_use.unlock();
    return;
  }
  for (int part = 0; part < parts; ++part) body(context, part);
}

}  // namespace minidl
