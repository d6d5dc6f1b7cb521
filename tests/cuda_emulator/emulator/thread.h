// What device code sees of the thread that it runs as, and how the threads of a block meet. Implemented in block.cpp.
#pragma once
#include <stddef.h>

#include "vectors.h"

// Of the running thread; written before it runs.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace emulator {

constexpr unsigned warp_lanes = 32;

// A place in the source, for reports: the caller's, where it is a default argument.
struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

struct Thread {
  uint3 index;
  unsigned number, lane;  // in its block, in its warp
};

extern Thread* current;  // the one that runs

// Ends the launch with a report that names the place, the block and the thread.
[[noreturn, gnu::format(printf, 2, 3)]] void fail(Site site, const char* format, ...);

// All threads of the block, at one line. Returns how many of them passed true.
int meet_block(bool value, Site site);

// The lanes of mask, at one line with one instruction; each sees what the others brought until it leaves.
class WarpMeeting {
 public:
  WarpMeeting(const char* instruction, unsigned mask, const void* brought, size_t bytes, Site site,
              bool orders_memory = false);
  WarpMeeting(const WarpMeeting&) = delete;
  WarpMeeting& operator=(const WarpMeeting&) = delete;
  ~WarpMeeting();
  void read(unsigned lane, void* to, size_t bytes) const;
  unsigned mask() const;

 private:
  struct Rendezvous* rendezvous_;
  Site site_;
};

void note_fence();
bool has_fenced();  // since the kernel began

// A copy to shared memory under way (cp.async): its bytes are there only after the wait for its group.
struct CopyUnderWay {
  void* to;
  const void* from;
  int bytes, copied_bytes;  // the rest are zeros
};
void begin_copy(const CopyUnderWay& copy);
void close_copy_group();
// The next copy, in order of their beginning, that has landed when at most so many groups are still under way.
bool take_landed_copy(int groups, CopyUnderWay* copy);

// Shared memory of the block: one array per declaration and instance of the function around it, at first full of nan.
void* shared_array(const void* declaration, size_t bytes, size_t alignment, Site site);
void* dynamic_shared_array(Site site);

}  // namespace emulator
