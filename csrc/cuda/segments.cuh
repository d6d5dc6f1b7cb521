// The segments of an optimizer's group, passed to a kernel by value: which block takes which part of which segment.
#pragma once
#include "elementwise.cuh"

namespace MINIDL_TARGET {
namespace {

constexpr int segment_threads = 256;
constexpr int max_segments = 56;  // as many as fit the 4 KB of a kernel's parameters, with room for its other ones

template <typename T>
struct SegmentBatch {
  static constexpr int step = segment_threads * pack_width<T>;

  Segment<T> segments[max_segments];
  int first_block[max_segments + 1];
  int count;
  int64_t part_size;  // elements of a block, a multiple of step, which is one pack per thread

  // A block's part of a segment.
  struct Part {
    const Segment<T>* segment;
    int64_t begin, end;

    // Where packs of this width end, and single elements begin.
    __device__ int64_t packs_end(int width) const { return end - (end - begin) % width; }
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

template <typename T>
bool has_packs(const Segment<T>& segment) {
  return segment.size == 0 ||
         is_aligned(pack_bytes, segment.param, segment.grad, segment.state[0], segment.state[1], segment.state[2]);
}

// Calls queue(batch, blocks, is_first, width) for max_segments segments at a time, at least once, with at least one
// block; width is that of a pack, or 1 if one array is not aligned so. The parts are as small as about `blocks` blocks
// in all allow.
template <typename T, typename Queue>
void for_segment_batches(const Segment<T>* segments, int64_t count, int64_t blocks, const Queue& queue) {
  constexpr int64_t step = SegmentBatch<T>::step;
  const int64_t packs_per_thread = divide_up(total_size(segments, count), blocks * step);
  int64_t done = 0;
  do {
    SegmentBatch<T> batch{};
    bool aligned = true;
    batch.count = (int)(count - done < max_segments ? count - done : max_segments);
    batch.part_size = step * (packs_per_thread > 1 ? packs_per_thread : 1);
    for (int s = 0; s < batch.count; ++s) {
      batch.segments[s] = segments[done + s];
      aligned = aligned && has_packs(batch.segments[s]);
      batch.first_block[s + 1] = batch.first_block[s] + (int)divide_up(batch.segments[s].size, batch.part_size);
    }
    const int needed = batch.first_block[batch.count];
    if (aligned)
      queue(batch, needed > 0 ? needed : 1, done == 0, std::integral_constant<int, pack_width<T>>());
    else
      queue(batch, needed > 0 ? needed : 1, done == 0, std::integral_constant<int, 1>());
    done += batch.count;
  } while (done < count);
}

// body(width, i) for the packs of a part that a thread takes, and then for the single elements.
template <int width, typename Part, typename Body>
__device__ void for_packs(const Part& part, Body body) {
  const int64_t packs_end = part.packs_end(width);
#pragma unroll 4
  for (int64_t i = part.begin + threadIdx.x * width; i < packs_end; i += segment_threads * width)
    body(std::integral_constant<int, width>(), i);
  if (width > 1 && packs_end + threadIdx.x < part.end) body(std::integral_constant<int, 1>(), packs_end + threadIdx.x);
}

}  // namespace
}  // namespace MINIDL_TARGET
