// Which calls of a step may run beside each other in its graph: a layer's weight gradient, say, beside the gradient of
// the layer before it, which does not wait for it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "call.h"

namespace minidl {

// The calls of one lane follow each other and share scratch memory.
constexpr int lane_count = 2;

struct LanePlace {
  int lane;
  std::vector<size_t> after;  // the earlier calls that it waits for: of each lane the last one that it needs
};

bool overlap(const std::vector<Extent>& some, const std::vector<Extent>& others);

// Whether the order of two calls matters.
bool must_follow(const Call& later, const Call& earlier);

// The calls of so many steps, one after the other.
std::vector<const Call*> in_order(const Calls& calls, int64_t steps);

// Every call as early as it can be, counted in calls; where both lanes have it at the same time, the first.
std::vector<LanePlace> arrange_in_lanes(const std::vector<const Call*>& calls);

// The last call of each lane that has one.
std::vector<size_t> last_of_lanes(const std::vector<LanePlace>& places);

// The number of calls on the longest way through the graph.
size_t longest_chain(const std::vector<LanePlace>& places);

}  // namespace minidl
