// The threads of a block as fibers: who runs next, who waits for whom, and what is wrong when nobody can go on.
// Compiled without sanitizers: what it does on behalf of the threads is told to them by hand.
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <map>
#include <tuple>

#include "block.h"
#include "order.h"
#include "sanitizers.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator {

Thread* current = nullptr;
Block& block = *new Block;  // never destroyed: fibers may still be suspended when the process ends
const char dynamic_declaration = 0;

void* new_order() {
  static int64_t orders[1 << 14];
  static unsigned used = 0;
  return &orders[used++ % std::size(orders)];
}

void wait(State state, const char* instruction, Site site) {
  RunningThread& thread = running();
  thread.state = state;
  thread.instruction = instruction;
  thread.site = site;
  thread.fiber.suspend();
}

namespace {

// A new thread for the sanitizer takes a millisecond, so blocks take turns with two sets: it sees races between
// neighbours in the order of blocks, which can be random.
constexpr unsigned race_check_sets = 2;

// Addresses that stand for an ordering: the launch before its threads, they before its end.
char launch_order, end_order;

std::string text_of(const char* format, va_list arguments) {
  char text[600];
  std::vsnprintf(text, sizeof text, format, arguments);
  return text;
}

[[gnu::format(printf, 1, 2)]] void note_failure(const char* format, ...) {
  if (!block.failure.empty()) return;
  va_list arguments;
  va_start(arguments, format);
  block.failure = text_of(format, arguments);
  va_end(arguments);
}

std::string name_of(const Thread& thread) {
  char text[100];
  std::snprintf(text, sizeof text, "block (%u, %u, %u), thread (%u, %u, %u)", blockIdx.x, blockIdx.y, blockIdx.z,
                thread.index.x, thread.index.y, thread.index.z);
  return text;
}

void run_thread(void*) {
  acquire(&launch_order);
  block.grid->call(block.grid->arguments);
  RunningThread& thread = running();
  if (!thread.copies.empty()) fail(thread.site, "the kernel ended with an asynchronous copy that nobody waited for");
  release(&end_order);
  thread.state = State::exited;
  --block.live_threads;
}

bool run_ready_lanes(const Warp& warp, Order& order) {
  bool any = false;
  order.for_each(warp.lanes, [&](unsigned lane) {
    RunningThread& thread = block.thread(warp.first + lane);
    if (thread.state != State::ready) return true;
    any = true;
    current = &thread;
    threadIdx = thread.index;
    thread.fiber.resume();
    return block.failure.empty();
  });
  return any;
}

// Lets the threads go on when all are there. All means all that the block began with: an exited thread is a bug.
bool release_barrier() {
  const RunningThread* first = nullptr;
  int there = 0, passed_true = 0;
  for (unsigned i = 0; i < block.thread_count; ++i) {
    const RunningThread& thread = block.thread(i);
    if (thread.state != State::at_barrier) continue;
    if (!first) first = &thread;
    ++there;
    passed_true += thread.value;
    if (!is_same(thread.site, first->site)) {
      note_failure("divergent __syncthreads: %s is at %s:%d, thread (%u, %u, %u) at %s:%d", name_of(*first).c_str(),
                   first->site.file, first->site.line, thread.index.x, thread.index.y, thread.index.z, thread.site.file,
                   thread.site.line);
      return false;
    }
  }
  if (there == 0 || (unsigned)there != block.live_threads) return false;
  if (block.live_threads != block.thread_count) {
    note_failure("%s:%d: %s is at __syncthreads, but %u of the block's %u threads have exited", first->site.file,
                 first->site.line, name_of(*first).c_str(), block.thread_count - block.live_threads,
                 block.thread_count);
    return false;
  }
  block.barrier_result = passed_true;
  block.barrier_order = new_order();
  for (unsigned i = 0; i < block.thread_count; ++i) block.thread(i).state = State::ready;
  return true;
}

// Who waits where, one clause for each place.
void note_deadlock() {
  std::map<std::tuple<std::string, int, std::string>, std::pair<const RunningThread*, int>> waiting;
  for (unsigned i = 0; i < block.thread_count; ++i) {
    const RunningThread& thread = block.thread(i);
    if (thread.state == State::exited) continue;
    auto& [first, count] = waiting[{thread.site.file, thread.site.line, thread.instruction}];
    if (count++ == 0) first = &thread;
  }
  std::string text = "deadlock:";
  for (const auto& [place, who] : waiting) {
    const auto& [file, line, instruction] = place;
    text += " " + name_of(*who.first) + (who.second > 1 ? " and " + std::to_string(who.second - 1) + " more" : "") +
            " in " + instruction + " at " + file + ":" + std::to_string(line) + ";";
  }
  note_failure("%s %u threads have exited", text.c_str(), block.thread_count - block.live_threads);
}

void begin_block(unsigned number) {
  blockIdx = {number % gridDim.x, number / gridDim.x % gridDim.y, number / gridDim.x / gridDim.y};
  block.live_threads = block.thread_count;
  block.barrier_order = new_order();
  if (has_race_check()) block.first_thread = block.first_thread == 0 ? block.thread_count : 0;
  block.shared_memory.clear();
  if (block.grid->dynamic_shared_bytes > 0)
    block.shared_memory.array(&dynamic_declaration, block.grid->dynamic_shared_bytes, 16, {"the launch", 0});
  release(&launch_order);
  for (Warp& warp : block.warps)
    for (Rendezvous& meeting : warp.meetings) meeting.arrived = meeting.present = 0;
  for (unsigned i = 0; i < block.thread_count; ++i) {
    RunningThread& thread = block.thread(i);
    thread.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    thread.number = i;
    thread.lane = i % warp_lanes;
    thread.has_fenced = false;
    thread.copies.clear();
    thread.copy_groups = 0;
    thread.site = {"kernel", 0};
    thread.state = State::ready;
    thread.fiber.start(run_thread, nullptr);
  }
}

void run_block(unsigned number, Order& order) {
  begin_block(number);
  unsigned warp_count = (block.thread_count + warp_lanes - 1) / warp_lanes;
  while (block.live_threads > 0 && block.failure.empty()) {
    bool any = false;
    // A warp runs until all of its lanes wait for the block.
    order.for_each(warp_count, [&](unsigned warp) {
      while (run_ready_lanes(block.warps[warp], order) && block.failure.empty()) any = true;
      return block.failure.empty();
    });
    if (!block.failure.empty()) return;
    if (block.live_threads > 0 && !release_barrier() && !any && block.failure.empty()) note_deadlock();
  }
  if (!block.failure.empty()) return;
  std::string broken = block.shared_memory.broken_fence();
  if (!broken.empty()) note_failure("block (%u, %u, %u): %s", blockIdx.x, blockIdx.y, blockIdx.z, broken.c_str());
}

}  // namespace

std::string run(const Grid& launched) {
  block.grid = &launched;
  blockDim = launched.threads;
  gridDim = launched.blocks;
  block.thread_count = blockDim.x * blockDim.y * blockDim.z;
  block.failure.clear();
  block.first_thread = 0;
  if (block.threads.size() < race_check_sets * block.thread_count)
    block.threads.resize(race_check_sets * block.thread_count);
  while (block.warps.size() * warp_lanes < block.thread_count) block.warps.emplace_back();
  for (unsigned first = 0; first < block.thread_count; first += warp_lanes) {
    block.warps[first / warp_lanes].first = first;
    block.warps[first / warp_lanes].lanes = std::min(block.thread_count - first, warp_lanes);
  }
  Order order;
  order.for_each(gridDim.x * gridDim.y * gridDim.z, [&](unsigned number) {
    run_block(number, order);
    return block.failure.empty();
  });
  acquire(&end_order);
  current = nullptr;
  return block.failure;
}

void fail(Site site, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string text = text_of(format, arguments);
  va_end(arguments);
  note_failure("%s:%d: %s: %s", site.file, site.line, name_of(running()).c_str(), text.c_str());
  running().fiber.suspend();  // for good
  __builtin_unreachable();
}

}  // namespace emulator
