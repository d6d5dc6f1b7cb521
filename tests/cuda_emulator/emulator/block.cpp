// The threads of a block as fibers: who runs next, who waits for whom, and what is wrong when nobody can go on.
// Compiled without sanitizers: what it does on behalf of the threads is told to them by hand.
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <tuple>

#include "fiber.h"
#include "grid.h"
#include "order.h"
#include "sanitizers.h"
#include "shared_memory.h"
#include "thread.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulator {

Thread* current = nullptr;

// One meeting of some lanes of a warp. Its slot is free again when all of them have left.
struct Rendezvous {
  const char* instruction = nullptr;
  unsigned mask = 0, arrived = 0, present = 0;
  Site site{};
  void* order = nullptr;
  unsigned char brought[warp_lanes][64];

  bool is_free() const { return arrived == 0 && present == 0; }
  bool is_forming() const { return arrived != 0 && arrived != mask; }
};

namespace {

enum class State { ready, at_barrier, in_warp_meeting, exited };

struct GroupedCopy : CopyUnderWay {
  int group;
};

struct RunningThread : Thread {
  Fiber fiber;
  State state = State::exited;
  Site site{};
  const char* instruction = nullptr;
  bool value = false;
  bool has_fenced = false;
  std::deque<GroupedCopy> copies;
  int copy_groups = 0;
};

struct Warp {
  unsigned first, lanes;
  std::deque<Rendezvous> meetings;

  unsigned all() const { return lanes == warp_lanes ? 0xffffffffu : (1u << lanes) - 1; }
};

// A new thread for the sanitizer takes a millisecond, so blocks take turns with two sets: it sees races between
// neighbours in the order of blocks, which can be random.
constexpr unsigned race_check_sets = 2;

// Never destroyed: fibers may still be suspended when the process ends.
auto& threads = *new std::deque<RunningThread>;
auto& warps = *new std::deque<Warp>;
auto& shared_memory = *new SharedMemory;

const Grid* grid = nullptr;
unsigned thread_count = 0, live_threads = 0, first_thread = 0;
int barrier_result = 0;
std::string failure;
char dynamic_declaration;
// Addresses that stand for an ordering, in what the race check is told: the launch before its threads, they before its
// end. Every meeting has one of its own, until they run out: one that blocks share would order the blocks.
char launch_order, end_order;
int64_t meeting_orders[1 << 14];
unsigned meetings = 0;
void* barrier_order = nullptr;

void* new_order() { return &meeting_orders[meetings++ % std::size(meeting_orders)]; }

RunningThread& thread_at(unsigned i) { return threads[first_thread + i]; }
RunningThread& running() { return *static_cast<RunningThread*>(current); }

std::string text_of(const char* format, va_list arguments) {
  char text[600];
  std::vsnprintf(text, sizeof text, format, arguments);
  return text;
}

[[gnu::format(printf, 1, 2)]] void note_failure(const char* format, ...) {
  if (!failure.empty()) return;
  va_list arguments;
  va_start(arguments, format);
  failure = text_of(format, arguments);
  va_end(arguments);
}

std::string name_of(const Thread& thread) {
  char text[100];
  std::snprintf(text, sizeof text, "block (%u, %u, %u), thread (%u, %u, %u)", blockIdx.x, blockIdx.y, blockIdx.z,
                thread.index.x, thread.index.y, thread.index.z);
  return text;
}

void wait(State state, const char* instruction, Site site) {
  RunningThread& thread = running();
  thread.state = state;
  thread.instruction = instruction;
  thread.site = site;
  thread.fiber.suspend();
}

void run_thread(void*) {
  acquire(&launch_order);
  grid->call(grid->arguments);
  RunningThread& thread = running();
  if (!thread.copies.empty()) fail(thread.site, "the kernel ended with an asynchronous copy that nobody waited for");
  release(&end_order);
  thread.state = State::exited;
  --live_threads;
}

bool run_ready_lanes(const Warp& warp, Order& order) {
  bool any = false;
  order.for_each(warp.lanes, [&](unsigned lane) {
    RunningThread& thread = thread_at(warp.first + lane);
    if (thread.state != State::ready) return true;
    any = true;
    current = &thread;
    threadIdx = thread.index;
    thread.fiber.resume();
    return failure.empty();
  });
  return any;
}

bool is_same(Site a, Site b) { return a.line == b.line && !std::strcmp(a.file, b.file); }

// Lets the threads go on when all are there. All means all that the block began with: an exited thread is a bug.
bool release_barrier() {
  const RunningThread* first = nullptr;
  int there = 0, passed_true = 0;
  for (unsigned i = 0; i < thread_count; ++i) {
    const RunningThread& thread = thread_at(i);
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
  if (there == 0 || (unsigned)there != live_threads) return false;
  if (live_threads != thread_count) {
    note_failure("%s:%d: %s is at __syncthreads, but %u of the block's %u threads have exited", first->site.file,
                 first->site.line, name_of(*first).c_str(), thread_count - live_threads, thread_count);
    return false;
  }
  barrier_result = passed_true;
  barrier_order = new_order();
  for (unsigned i = 0; i < thread_count; ++i) thread_at(i).state = State::ready;
  return true;
}

// Who waits where, one clause for each place.
void note_deadlock() {
  std::map<std::tuple<std::string, int, std::string>, std::pair<const RunningThread*, int>> waiting;
  for (unsigned i = 0; i < thread_count; ++i) {
    const RunningThread& thread = thread_at(i);
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
  note_failure("%s %u threads have exited", text.c_str(), thread_count - live_threads);
}

void begin_block(unsigned number) {
  blockIdx = {number % gridDim.x, number / gridDim.x % gridDim.y, number / gridDim.x / gridDim.y};
  live_threads = thread_count;
  barrier_order = new_order();
  if (has_race_check()) first_thread = first_thread == 0 ? thread_count : 0;
  shared_memory.clear();
  if (grid->dynamic_shared_bytes > 0)
    shared_memory.array(&dynamic_declaration, grid->dynamic_shared_bytes, 16, {"the launch", 0});
  release(&launch_order);
  for (Warp& warp : warps)
    for (Rendezvous& meeting : warp.meetings) meeting.arrived = meeting.present = 0;
  for (unsigned i = 0; i < thread_count; ++i) {
    RunningThread& thread = thread_at(i);
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
  unsigned warp_count = (thread_count + warp_lanes - 1) / warp_lanes;
  while (live_threads > 0 && failure.empty()) {
    bool any = false;
    // A warp runs until all of its lanes wait for the block.
    order.for_each(warp_count, [&](unsigned warp) {
      while (run_ready_lanes(warps[warp], order) && failure.empty()) any = true;
      return failure.empty();
    });
    if (!failure.empty()) return;
    if (live_threads > 0 && !release_barrier() && !any && failure.empty()) note_deadlock();
  }
  if (!failure.empty()) return;
  std::string broken = shared_memory.broken_fence();
  if (!broken.empty()) note_failure("block (%u, %u, %u): %s", blockIdx.x, blockIdx.y, blockIdx.z, broken.c_str());
}

}  // namespace

std::string run(const Grid& launched) {
  grid = &launched;
  blockDim = launched.threads;
  gridDim = launched.blocks;
  thread_count = blockDim.x * blockDim.y * blockDim.z;
  failure.clear();
  first_thread = 0;
  if (threads.size() < race_check_sets * thread_count) threads.resize(race_check_sets * thread_count);
  while (warps.size() * warp_lanes < thread_count) warps.emplace_back();
  for (unsigned first = 0; first < thread_count; first += warp_lanes) {
    warps[first / warp_lanes].first = first;
    warps[first / warp_lanes].lanes = std::min(thread_count - first, warp_lanes);
  }
  Order order;
  order.for_each(gridDim.x * gridDim.y * gridDim.z, [&](unsigned number) {
    run_block(number, order);
    return failure.empty();
  });
  acquire(&end_order);
  current = nullptr;
  return failure;
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

int meet_block(bool value, Site site) {
  running().value = value;
  void* order = barrier_order;
  release(order);
  wait(State::at_barrier, "__syncthreads", site);
  acquire(order);
  return barrier_result;
}

WarpMeeting::WarpMeeting(const char* instruction, unsigned mask, const void* brought, size_t bytes, Site site,
                         bool orders_memory)
    : site_(site) {
  RunningThread& thread = running();
  Warp& warp = warps[thread.number / warp_lanes];
  mask &= warp.all();  // a warp that the block does not fill has no other lanes
  if (!(mask >> thread.lane & 1))
    fail(site, "lane %u calls %s with mask %08x, which leaves it out", thread.lane, instruction, mask);
  rendezvous_ = nullptr;
  for (Rendezvous& meeting : warp.meetings) {
    if (!meeting.is_forming()) continue;
    if (meeting.mask == mask) {
      rendezvous_ = &meeting;
    } else if (meeting.mask & mask) {
      fail(site, "%s with mask %08x, while lanes of it wait in %s with mask %08x at %s:%d", instruction, mask,
           meeting.instruction, meeting.mask, meeting.site.file, meeting.site.line);
    }
  }
  if (!rendezvous_) {
    for (Rendezvous& meeting : warp.meetings)
      if (meeting.is_free()) rendezvous_ = &meeting;
    if (!rendezvous_) rendezvous_ = &warp.meetings.emplace_back();
    rendezvous_->instruction = instruction;
    rendezvous_->mask = mask;
    rendezvous_->site = site;
    rendezvous_->order = new_order();
  } else if (std::strcmp(rendezvous_->instruction, instruction) || !is_same(rendezvous_->site, site)) {
    fail(site, "lane %u is in %s, while other lanes of its mask %08x are in %s at %s:%d", thread.lane, instruction,
         mask, rendezvous_->instruction, rendezvous_->site.file, rendezvous_->site.line);
  }
  for (size_t i = 0; i < bytes; ++i)  // not memcpy: the race check would take it for the thread's access
    const_cast<volatile unsigned char*>(rendezvous_->brought[thread.lane])[i] =
        static_cast<const unsigned char*>(brought)[i];
  unsigned bit = 1u << thread.lane;
  rendezvous_->arrived |= bit;
  rendezvous_->present |= bit;
  if (orders_memory) release(rendezvous_->order);
  if (rendezvous_->arrived == mask) {
    for (unsigned lane = 0; lane < warp.lanes; ++lane)
      if (mask >> lane & 1) thread_at(warp.first + lane).state = State::ready;
  } else {
    wait(State::in_warp_meeting, instruction, site);
  }
  if (orders_memory) acquire(rendezvous_->order);
}

WarpMeeting::~WarpMeeting() {
  rendezvous_->present &= ~(1u << running().lane);
  if (rendezvous_->present == 0) rendezvous_->arrived = 0;
}

unsigned WarpMeeting::mask() const { return rendezvous_->mask; }

void WarpMeeting::read(unsigned lane, void* to, size_t bytes) const {
  if (lane >= warp_lanes || !(rendezvous_->mask >> lane & 1))
    fail(site_, "%s reads lane %u, which takes no part in it (mask %08x)", rendezvous_->instruction, lane,
         rendezvous_->mask);
  for (size_t i = 0; i < bytes; ++i) static_cast<volatile unsigned char*>(to)[i] = rendezvous_->brought[lane][i];
}

void note_fence() { running().has_fenced = true; }
bool has_fenced() { return running().has_fenced; }

void begin_copy(const CopyUnderWay& copy) { running().copies.push_back({copy, running().copy_groups}); }
void close_copy_group() { ++running().copy_groups; }

bool take_landed_copy(int groups, CopyUnderWay* copy) {
  RunningThread& thread = running();
  if (thread.copies.empty() || thread.copies.front().group >= thread.copy_groups - groups) return false;
  *copy = thread.copies.front();
  thread.copies.pop_front();
  return true;
}

void* shared_array(const void* declaration, size_t bytes, size_t alignment, Site site) {
  void* data = shared_memory.array(declaration, bytes, alignment, site);
  size_t declared = shared_memory.used_bytes() - grid->dynamic_shared_bytes;
  if (declared > static_shared_bytes)
    fail(site, "%zu bytes of declared shared memory, of at most %zu; more only as dynamic shared memory", declared,
         static_shared_bytes);
  if (shared_memory.used_bytes() > grid->shared_bytes_limit)
    fail(site, "%zu bytes of shared memory a block, of at most %zu on this GPU", shared_memory.used_bytes(),
         grid->shared_bytes_limit);
  return data;
}

void* dynamic_shared_array(Site site) {
  if (grid->dynamic_shared_bytes == 0) fail(site, "the launch asked for no dynamic shared memory");
  return shared_memory.array(&dynamic_declaration, grid->dynamic_shared_bytes, 16, site);
}

}  // namespace emulator
