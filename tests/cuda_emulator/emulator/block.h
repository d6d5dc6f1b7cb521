// The block that runs, as its scheduler (block.cpp) and what its threads call (meeting.cpp) see it. One at a time.
#pragma once
#include <deque>
#include <string>

#include "fiber.h"
#include "grid.h"
#include "shared_memory.h"
#include "thread.h"

namespace emulator {

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

struct Warp {
  unsigned first, lanes;
  std::deque<Rendezvous> meetings;

  unsigned all() const { return lanes == warp_lanes ? 0xffffffffu : (1u << lanes) - 1; }
};

struct Block {
  const Grid* grid = nullptr;
  std::deque<RunningThread> threads;
  std::deque<Warp> warps;
  SharedMemory shared_memory;
  unsigned thread_count = 0, live_threads = 0;
  unsigned first_thread = 0;      // of those in `threads` that this block uses
  void* barrier_order = nullptr;  // of the barrier to come
  int barrier_result = 0;         // of the last one: how many threads passed true
  std::string failure;            // the first; empty while all goes well

  RunningThread& thread(unsigned i) { return threads[first_thread + i]; }
};

extern Block& block;

inline RunningThread& running() { return *static_cast<RunningThread*>(current); }
// Mostly it is the same text in the same place: compared first, as a sanitizer's strcmp takes long.
inline bool is_same(const char* a, const char* b) { return a == b || __builtin_strcmp(a, b) == 0; }
inline bool is_same(Site a, Site b) { return a.line == b.line && is_same(a.file, b.file); }

// Leaves the running thread until somebody makes it ready again.
void wait(State state, const char* instruction, Site site);

// An address that stands for an ordering of memory, in what the race check is told. Every meeting has one of its own,
// until they run out: one that blocks share would order the blocks.
void* new_order();

// What the declaration of dynamic shared memory is known by.
extern const char dynamic_declaration;

}  // namespace emulator
