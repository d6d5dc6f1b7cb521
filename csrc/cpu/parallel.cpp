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
// Longer than it takes until a worker sees what a caller has written, or the caller what a worker has.
constexpr int spins_while_falling_asleep = 64, spins_before_help = 32;

thread_local bool inside_part = false;

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// A region, and which of its parts are to be run: one, and each that is as many threads further.
struct Task {
  void (*body)(void* context, int part) = nullptr;
  void* context = nullptr;
  uint64_t caller_float_mode = 0;
  int first_part = 0, parts = 0, threads = 1;

  void run() const {
    set_float_mode(caller_float_mode);
    for (int part = first_part; part < parts; part += threads) body(context, part);
  }
};

// Of the cache: Intel's CPUs fetch lines in pairs.
constexpr int line_pair_bytes = 128;

// What a caller and a worker tell each other, each on lines that the other one seldom writes: to fetch a line that a
// core far away has written takes as long as a small kernel, 0.22 us on a Zen 5.
struct Worker {
  // Written by the caller: the number of the call and what is asked for.
  alignas(line_pair_bytes) std::atomic<uint32_t> calls{0};
  Task task;
  // The last call that somebody has taken: the worker, which finds this in its cache, or the caller, where that comes
  // too late.
  alignas(line_pair_bytes) std::atomic<uint32_t> taken{0};
  // Written by the worker.
  alignas(line_pair_bytes) std::atomic<uint32_t> finished{0};
  std::atomic<bool> is_asleep{true};  // or has not been started
  // The caller's own.
  alignas(line_pair_bytes) pthread_t thread;
  int avoided_cpu = -1;

  // True for one of the two, who then reads the task: it stays as it is until it is taken and finished. This orders
  // nothing; `calls` and `finished` do.
  bool take(uint32_t call) {
    uint32_t before = call - 1;
    return taken.compare_exchange_strong(before, call, std::memory_order_relaxed);
  }

  uint32_t wait_for_call(uint32_t seen) {
    if (uint32_t call = watch_for_call(seen, spins_before_sleep); call != seen) return call;
    is_asleep.store(true);
    // A caller that has not seen this yet may be calling: its call shows up soon.
    if (watch_for_call(seen, spins_while_falling_asleep) == seen) calls.wait(seen);
    is_asleep.store(false);
    return calls.load(std::memory_order_acquire);
  }

  uint32_t watch_for_call(uint32_t seen, int spins) const {
    for (int spin = 0; spin < spins; ++spin) {
      uint32_t call = calls.load(std::memory_order_acquire);
      if (call != seen) return call;
      relax();
    }
    return seen;
  }

  void call(const Task& new_task) {
    task = new_task;
    calls.store(calls.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    if (is_asleep.load(std::memory_order_relaxed)) wake();
  }

  void wake() {
    avoid_this_cpu();
    calls.fetch_add(0);  // the call is to be seen before it is asked whether anybody waits for it
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
  Worker workers[max_threads];
  int started = 0, startable = max_threads;

  void work(int number) {
    Worker& own = workers[number];
    inside_part = true;
    own.is_asleep.store(false);
    for (uint32_t call = 0;;) {
      call = own.wait_for_call(call);
      if (!own.take(call)) continue;
      own.task.run();
      own.finished.store(call, std::memory_order_release);
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

  void run(int parts, void (*body)(void*, int), void* context) {
    const int helpers = start_workers(parts - 1);
    Task task{body, context, float_mode(), 0, parts, helpers + 1};
    for (int helper = 0; helper < helpers; ++helper) {
      task.first_part = helper + 1;
      workers[helper].call(task);
    }
    task.first_part = 0;
    task.run();
    int spins = 0;
    for (int helper = 0; helper < helpers; ++helper) finish(workers[helper], spins);
  }

  // Waits until the worker has done its task. Where the machine is busy and it has not even taken it, the caller does
  // it instead; to look whether it has takes the line from it, so not at once.
  static void finish(Worker& worker, int& spins) {
    const uint32_t call = worker.calls.load(std::memory_order_relaxed);
    bool may_be_late = true;
    for (; worker.finished.load(std::memory_order_acquire) != call; ++spins) {
      if (may_be_late && (spins >= spins_before_help || worker.is_asleep.load(std::memory_order_relaxed))) {
        if (worker.take(call)) return worker.task.run();
        may_be_late = false;
      }
      if (spins % 1024 == 1023)
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
