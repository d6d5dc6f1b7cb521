// What the threads of a block call: barriers, meetings of a warp, asynchronous copies, shared memory. Compiled without
// sanitizers: what it does on behalf of the threads is told to them by hand.
#include "block.h"
#include "sanitizers.h"

namespace emulator {

int meet_block(bool value, Site site) {
  running().value = value;
  void* order = block.barrier_order;
  release(order);
  wait(State::at_barrier, "__syncthreads", site);
  acquire(order);
  return block.barrier_result;
}

WarpMeeting::WarpMeeting(const char* instruction, unsigned mask, const void* brought, size_t bytes, Site site,
                         bool orders_memory)
    : site_(site) {
  RunningThread& thread = running();
  Warp& warp = block.warps[thread.number / warp_lanes];
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
  } else if (!is_same(rendezvous_->instruction, instruction) || !is_same(rendezvous_->site, site)) {
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
      if (mask >> lane & 1) block.thread(warp.first + lane).state = State::ready;
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
  void* data = block.shared_memory.array(declaration, bytes, alignment, site);
  size_t declared = block.shared_memory.used_bytes() - block.grid->dynamic_shared_bytes;
  if (declared > static_shared_bytes)
    fail(site, "%zu bytes of declared shared memory, of at most %zu; more only as dynamic shared memory", declared,
         static_shared_bytes);
  if (block.shared_memory.used_bytes() > block.grid->shared_bytes_limit)
    fail(site, "%zu bytes of shared memory a block, of at most %zu on this GPU", block.shared_memory.used_bytes(),
         block.grid->shared_bytes_limit);
  return data;
}

void* dynamic_shared_array(Site site) {
  if (block.grid->dynamic_shared_bytes == 0) fail(site, "the launch asked for no dynamic shared memory");
  return block.shared_memory.array(&dynamic_declaration, block.grid->dynamic_shared_bytes, 16, site);
}

}  // namespace emulator
