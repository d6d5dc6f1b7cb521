// Sorting the calls of a step into lanes, by the memory that they read and write.
#include "lanes.h"

#include <algorithm>

namespace minidl {

bool overlap(const std::vector<Extent>& some, const std::vector<Extent>& others) {
  for (const Extent& extent : some)
    for (const Extent& other : others)
      if (extent.overlaps(other)) return true;
  return false;
}

bool must_follow(const Call& later, const Call& earlier) {
  return overlap(later.reads, earlier.writes) || overlap(later.writes, earlier.writes) ||
         overlap(later.writes, earlier.reads);
}

std::vector<const Call*> in_order(const Calls& calls, int64_t steps) {
  std::vector<const Call*> order;
  for (int64_t step = 0; step < steps; ++step)
    for (const auto& call : calls) order.push_back(call.get());
  return order;
}

std::vector<LanePlace> arrange_in_lanes(const std::vector<const Call*>& calls) {
  std::vector<LanePlace> places;
  std::vector<size_t> end;  // of each call, if every call took one unit of time
  std::vector<size_t> members[lane_count];
  for (size_t i = 0; i < calls.size(); ++i) {
    // What it has to wait for: in each lane the latest call, for that waits for the others there.
    const size_t* needed[lane_count] = {};
    size_t ready = 0;
    for (int lane = 0; lane < lane_count; ++lane) {
      auto found = std::find_if(members[lane].rbegin(), members[lane].rend(),
                                [&](size_t other) { return must_follow(*calls[i], *calls[other]); });
      if (found == members[lane].rend()) continue;
      needed[lane] = &*found;
      ready = std::max(ready, end[*found]);
    }
    LanePlace place{0, {}};
    size_t begin = (size_t)-1;
    for (int lane = 0; lane < lane_count; ++lane) {
      size_t lane_begin = std::max(ready, members[lane].empty() ? 0 : end[members[lane].back()]);
      if (lane_begin < begin) begin = lane_begin, place.lane = lane;
    }
    for (int lane = 0; lane < lane_count; ++lane) {
      if (lane == place.lane && !members[lane].empty())
        place.after.push_back(members[lane].back());
      else if (needed[lane])
        place.after.push_back(*needed[lane]);
    }
    members[place.lane].push_back(i);
    end.push_back(begin + 1);
    places.push_back(std::move(place));
  }
  return places;
}

std::vector<size_t> last_of_lanes(const std::vector<LanePlace>& places) {
  std::vector<size_t> last;
  for (int lane = 0; lane < lane_count; ++lane)
    for (size_t i = places.size(); i-- > 0;)
      if (places[i].lane == lane) {
        last.push_back(i);
        break;
      }
  return last;
}

size_t longest_chain(const std::vector<LanePlace>& places) {
  std::vector<size_t> length;
  size_t longest = 0;
  for (const LanePlace& place : places) {
    size_t before = 0;
    for (size_t call : place.after) before = std::max(before, length[call]);
    length.push_back(before + 1);
    longest = std::max(longest, before + 1);
  }
  return longest;
}

}  // namespace minidl
