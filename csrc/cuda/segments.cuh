// The segments of an optimizer's group, passed to a kernel by value: which block takes which part of which segment.
#pragma once
#include "packs.cuh"

namespace MINIDL_TARGET {
namespace {

constexpr int segment_threads = 256;
constexpr int max_segments = 56;  // as many as fit the 4 KB of a kernel's parameters, with room for its other ones

template <typename T>
struct SegmentBatch {
  static constexpr int width = pack_width<T>;
  static constexpr int step = segment_threads * width;  // elements between two packs of a thread

  Segment<T> segments[max_segments];
  int first_block[max_segments + 1];
  int count;
  int64_t part_size;  // elements of a block, a multiple of step

  // A block's part of a segment.
  struct Part {
    const Segment<T>* segment;
    int64_t begin, end;
  };
  __device__ Part part_of(int block) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (first_block[middle] <= block ? low : high) = middle;
    }
    const int64_t size = count > 0 ? segments[low].size : 0;
    const int64_t begin = (block - first_block[low]) * part_size;
    return {&segments[low], begin, size - begin < part_size ? size : begin + part_size};
  }
};

template <typename T>
int64_t total_size(const Segment<T>* segments, int64_t count) {
  int64_t total = 0;
  for (int64_t s = 0; s < count; ++s) total += segments[s].size;
  return total;
}

// Calls queue(batch, blocks, is_first) for max_segments segments at a time, at least once, with at least one block. The
// parts are as small as about `blocks` blocks in all allow.
template <typename T, typename Queue>
void for_segment_batches(const Segment<T>* segments, int64_t count, int64_t blocks, const Queue& queue) {
  constexpr int64_t step = SegmentBatch<T>::step;
  const int64_t packs_per_thread = divide_up(total_size(segments, count), blocks * step);
  int64_t done = 0;
  do {
    SegmentBatch<T> batch{};
    batch.count = (int)(count - done < max_segments ? count - done : max_segments);
    batch.part_size = step * (packs_per_thread > 1 ? packs_per_thread : 1);
    for (int s = 0; s < batch.count; ++s) {
      batch.segments[s] = segments[done + s];
      batch.first_block[s + 1] = batch.first_block[s] + (int)divide_up(batch.segments[s].size, batch.part_size);
    }
    const int needed = batch.first_block[batch.count];
    queue(batch, needed > 0 ? needed : 1, done == 0);
    done += batch.count;
  } while (done < count);
}

}  // namespace
}  // namespace MINIDL_TARGET
