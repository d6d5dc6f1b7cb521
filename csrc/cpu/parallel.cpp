// The thread pool: workers spin briefly for the next region, then sleep on a futex; a forked child starts a new pool.
#include "parallel.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <type_traits>

#include "float_mode.h"

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

// Each worker watches a line of its own: a region of few parts does not disturb the others.
struct alignas(64) Worker {
  std::atomic<uint32_t> calls{0};
  std::atomic<bool> is_asleep{true};  // or has not been started
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
  std::mutex in_use;                                                 // held by the thread that runs a region
  alignas(64) std::atomic<uint64_t> untaken[max_threads / 64] = {};  // one bit for each part
  alignas(64) std::atomic<int> unfinished{0};
  void (*body)(void*, int) = nullptr;
  void* context = nullptr;
  uint64_t caller_float_mode = 0;
  Worker workers[max_threads];
  int started = 0, startable = max_threads;

  bool take(int part) {
    std::atomic<uint64_t>& word = untaken[part / 64];
    const uint64_t bit = uint64_t{1} << part % 64;
    return (word.load(std::memory_order_relaxed) & bit) && (word.fetch_and(~bit, std::memory_order_acquire) & bit);
  }

  // Some part that nobody has taken yet, or -1.
  int find_part() const {
    for (int i = 0; i < max_threads / 64; ++i)
      if (uint64_t bits = untaken[i].load(std::memory_order_relaxed)) return 64 * i + __builtin_ctzll(bits);
    return -1;
  }

  // The thread's own part first: what that reads, the thread has often written itself, and it lies in its cache. A part
  // can be taken only while its region runs, and a region ends only when all its parts are done: what is read after
  // taking one belongs to that region, however late the thread comes.
  void take_parts(int own) {
    for (int part = own; part >= 0; part = find_part()) {
      if (!take(part)) continue;
      set_float_mode(caller_float_mode);
      body(context, part);
      unfinished.fetch_sub(1, std::memory_order_release);
    }
  }

  void work(int number) {
    inside_part = true;
    workers[number].is_asleep.store(false);
    for (uint32_t seen = 0;;) {
      workers[number].wait_for_call(seen);
      seen = workers[number].calls.load(std::memory_order_acquire);
      take_parts(number + 1);
    }
  }

  // Returns how many of the wanted workers there are. Where the system refuses one (a container's limit, no memory for
  // its stack), those that there are do the work, and no more are asked for.
  int start_workers(int wanted) try {
    for (; started < wanted && started < startable; ++started) {
      std::thread thread(&Pool::work, this, started);
      workers[started].thread = thread.native_handle();
      thread.detach();
    }
    return wanted < started ? wanted : started;
  } catch (const std::system_error&) {
    return startable = started;
  }

  void run(int parts, void (*new_body)(void*, int), void* new_context) {
    int helpers = start_workers(parts - 1);
    body = new_body;
    context = new_context;
    caller_float_mode = float_mode();
    unfinished.store(parts, std::memory_order_relaxed);
    for (int i = 0, left = parts; left > 0; ++i, left -= 64)
      untaken[i].store(left < 64 ? (uint64_t{1} << left) - 1 : ~uint64_t{0}, std::memory_order_release);
    for (int helper = 0; helper < helpers; ++helper) workers[helper].call();
    take_parts(0);
    for (int spin = 1; unfinished.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin % 1024 == 0)
        std::this_thread::yield();  // more threads than cores: let the one we wait for run
      else
        relax();
    }
  }
};

// Workers may still sleep in it while the process exits: it has no destructor that would run.
Pool pool;
static_assert(std::is_trivially_destructible_v<Pool>);
std::atomic<int> threads{0};

// A forked child has none of the threads, and the pool as it was in the middle of another thread's region: it starts
// over. Registered while the library loads, so that no fork can fall into it.
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] {
  new (&pool) Pool;
  inside_part = false;
});

// To wake a thread takes some 5 us of its caller's time: as many questions in a row, each soon after the one before it,
// show that this will be paid back.
constexpr int questions_before_waking = 8;
constexpr std::chrono::microseconds soon{30};

}  // namespace

bool is_easily_shared() {
  using Clock = std::chrono::steady_clock;
  thread_local Clock::time_point last;
  thread_local int in_a_row = 0;
  const Clock::time_point now = Clock::now();
  in_a_row = now - last > soon ? 0 : in_a_row < questions_before_waking ? in_a_row + 1 : in_a_row;
  last = now;
  return in_a_row == questions_before_waking || !pool.workers[0].is_asleep.load(std::memory_order_relaxed);
}

int thread_count() {
  int count = threads.load(std::memory_order_relaxed);
  if (count > 0) return count;
  int cores = (int)std::thread::hardware_concurrency();
  int all = cores < 1 ? 1 : cores < max_threads ? cores : max_threads;
  return threads.compare_exchange_strong(count, all) ? all : count;  // another thread may have set it meanwhile
}

void set_thread_count(int count) { threads.store(count < max_threads ? count : max_threads); }

void run_parallel(int parts, void (*body)(void*, int), void* context) {
  if (parts > 1 && parts <= max_threads && !inside_part && pool.in_use.try_lock()) {
    inside_part = true;
    pool.run(parts, body, context);
    inside_part = false;
    pool.in_use.unlock();
    return;
  }
  for (int part = 0; part < parts; ++part) body(context, part);
}

}  // namespace minidl
