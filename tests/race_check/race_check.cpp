// Drives the thread pool and the scratch memory in every way that kernels do, for the thread sanitizer to watch. All
// that bodies read and write is plain memory: only the pool orders it. Exits with 1 where a result is wrong.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "float_mode.h"
#include "parallel.h"
#include "scratch.h"

using race_check::parallel_for;
using race_check::parallel_parts;

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "race_check: wrong: %s\n", what);
  std::_Exit(1);
}

// Every part adds what the caller wrote to what the part of the region before left, on whichever thread that was.
void chain_of_regions(int parts, int regions) {
  std::vector<int> sums(parts), added(parts);
  for (int region = 1; region <= regions; ++region) {
    for (int part = 0; part < parts; ++part) added[part] = region + part;
    parallel_parts(parts, [&](int part) { sums[part] += added[part]; });
  }
  for (int part = 0; part < parts; ++part)
    require(sums[part] == regions * (regions + 1) / 2 + regions * part, "a part ran twice, or never");
}

void loop_over_blocks(int64_t size) {
  std::vector<int> out(size);
  parallel_for({minidl::thread_count()}, size, 100, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] += (int)i;
  });
  for (int64_t i = 0; i < size; ++i) require(out[i] == (int)i, "a loop missed an element, or took one twice");
}

// Asks often enough for a thread to be kept awake.
void loops_of_little_work() {
  std::vector<int> out(1000);
  for (int repeat = 0; repeat < 50; ++repeat) {
    const minidl::Stream stream{minidl::thread_count()};
    const int64_t grain = race_check::grain_at_present(stream, 1000, 900);
    require(grain == 900 || grain == 450, "a grain that is neither whole nor half");
    parallel_for(stream, 1000, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] += 1;
    });
  }
  for (int count : out) require(count == 50, "a loop of little work missed an element, or took one twice");
}

void nested_regions(int parts) {
  std::vector<int> counts(parts * parts);
  parallel_parts(parts,
                 [&](int outer) { parallel_parts(parts, [&](int inner) { counts[outer * parts + inner] += 1; }); });
  for (int count : counts) require(count == 1, "a nested part did not run once");
}

// As a matrix product does: all parts pack into the caller's memory, then all read all of it. A part's own scratch
// memory is its thread's.
void packed_products(int parts) {
  auto packed = (int*)minidl::scratch_memory(parts * sizeof(int));
  std::vector<int> sums(parts);
  for (int region = 1; region <= 3; ++region) {
    parallel_parts(parts, [&](int part) { packed[part] = region * part; });
    parallel_parts(parts, [&](int part) {
      for (int other = 0; other < parts; ++other) sums[part] += packed[other];
    });
  }
  for (int sum : sums) require(sum == 6 * (parts * (parts - 1) / 2), "a part read what was not packed yet");
  parallel_parts(parts, [&](int part) {
    auto own = (int*)minidl::scratch_memory((part + 1) * sizeof(int));
    for (int i = 0; i <= part; ++i) own[i] = part;
    for (int i = 0; i <= part; ++i) sums[part] = own[i];
  });
  for (int part = 0; part < parts; ++part) require(sums[part] == part, "two threads shared scratch memory");
}

// Parts run in the mode of their region's caller, on whichever thread that is; it is not kept for the next region.
void parts_in_the_callers_mode() {
  const uint64_t usual = minidl::float_mode() & minidl::denormals_are_zero;
  uint64_t modes[8];
  auto read_modes = [&] {
    parallel_parts(8, [&](int part) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // so that no thread takes all the parts
      modes[part] = minidl::float_mode() & minidl::denormals_are_zero;
    });
  };
  for (int trial = 0; trial < 3; ++trial) {
    {
      const minidl::FlushDenormals while_it_lives;
      read_modes();
    }
    for (uint64_t mode : modes) require(mode == minidl::denormals_are_zero, "a part did not flush denormal numbers");
    read_modes();
    for (uint64_t mode : modes) require(mode == usual, "a part kept the mode of an earlier region");
  }
}

// Long enough for every worker to fall asleep: the next region wakes them.
void let_workers_sleep() { std::this_thread::sleep_for(std::chrono::milliseconds(3)); }

void everything() {
  for (int parts : {2, 3, 8, 33}) {
    chain_of_regions(parts, 50);
    nested_regions(parts);
    packed_products(parts);
    loop_over_blocks(1000 * parts + 7);
    loops_of_little_work();
  }
}

template <typename Body>
void on_threads(int count, const Body& body) {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < count; ++caller) callers.emplace_back([&body, caller] { body(caller); });
  for (std::thread& caller : callers) caller.join();
}

void several_callers() {
  on_threads(4, [](int) { everything(); });
}

void thread_count_changes_meanwhile() {
  std::atomic<bool> is_done{false};
  std::thread setter([&] {
    for (int count = 1; !is_done.load(std::memory_order_relaxed); count = count % 7 + 1) {
      minidl::set_thread_count(count);
      std::this_thread::yield();
    }
  });
  on_threads(2, [](int) {
    for (int trial = 0; trial < 50; ++trial) loop_over_blocks(5000);
  });
  is_done.store(true, std::memory_order_relaxed);
  setter.join();
}

void sleep_and_wake() {
  for (int trial = 0; trial < 20; ++trial) {
    let_workers_sleep();
    chain_of_regions(trial % 4 + 2, 3);
  }
}

void fork_and_wait(const char* what) {
  std::fflush(nullptr);
  pid_t child = fork();
  if (child == 0) {
    chain_of_regions(4, 20);
    packed_products(3);
    let_workers_sleep();
    chain_of_regions(3, 3);
    _exit(0);
  }
  int status = -1;
  require(child > 0 && waitpid(child, &status, 0) == child && status == 0, what);
}

void fork_between_regions() {
  chain_of_regions(4, 10);
  fork_and_wait("a forked child could not use the pool");
  chain_of_regions(4, 10);
}

void fork_while_others_run() {
  std::atomic<bool> is_done{false};
  std::thread busy([&] {
    while (!is_done.load(std::memory_order_relaxed)) chain_of_regions(4, 10);
  });
  for (int trial = 0; trial < 10; ++trial) fork_and_wait("a child forked during a region could not use the pool");
  is_done.store(true, std::memory_order_relaxed);
  busy.join();
}

void many_parts() { chain_of_regions(70'000, 3); }

// Not right, on purpose: two parts add to the same number. The check is worth something only while this is reported.
void planted_race() {
  int sum = 0;
  for (int region = 0; region < 5; ++region)
    parallel_parts(4, [&](int) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // so that no thread takes all the parts
      ++sum;
    });
  std::printf("%d\n", sum);
}

void regions() {
  everything();
  many_parts();
  sleep_and_wake();
  parts_in_the_callers_mode();
  several_callers();
  thread_count_changes_meanwhile();
}

// Apart from the others: the thread sanitizer does not follow a process with several threads into its children.
void forks() {
  fork_between_regions();
  fork_while_others_run();
}

}  // namespace

int main(int argc, char** argv) {
  std::string wanted = argc == 2 ? argv[1] : "";
  if (wanted == "regions") {
    regions();
  } else if (wanted == "forks") {
    forks();
  } else if (wanted == "planted-race") {
    planted_race();
  } else {
    std::fprintf(stderr, "usage: race_check regions | forks | planted-race\n");
    return 2;
  }
}
