// Loops over contiguous elements and over strips of columns, one vector at a time, whole or cut short by an edge.
#pragma once
#include <stdint.h>

#include "simd.h"

namespace MINIDL_TARGET {
namespace {

// One vector's place in arrays of one shape. Bodies are written once, over either kind.
template <typename T>
struct Whole {
  int64_t index;   // of its first element
  int64_t row;     // of a strip, else 0
  int vector = 0;  // which of the strip's vectors this is
  static constexpr int count = Vec<T>::width;
  SIMD_INLINE Vec<T> operator()(const T* array) const { return load(array + index); }
  SIMD_INLINE void store(T* array, Vec<T> v) const { MINIDL_TARGET::store(array + index, v); }
};

template <typename T>
struct Edge {
  int64_t index;
  int64_t row;
  int vector;
  int count;  // lanes beyond it read as 0 and are not written
  SIMD_INLINE Vec<T> operator()(const T* array) const { return load_partial(array + index, count); }
  SIMD_INLINE void store(T* array, Vec<T> v) const { store_partial(array + index, v, count); }
};

// The same vector in an array that begins at element origin of the other arrays.
template <typename Place>
SIMD_INLINE Place relative_to(Place at, int64_t origin) {
  at.index -= origin;
  return at;
}

// What stands at a place of an array that may be absent.
template <typename T, typename Place>
SIMD_INLINE Vec<T> value_or(const T* array, Place at, T absent) {
  return array ? at(array) : Vec<T>(absent);
}
template <typename T>
SIMD_INLINE T value_or(const T* array, int64_t i, T absent) {
  return array ? array[i] : absent;
}

// true in the first count lanes
template <typename T>
SIMD_INLINE Mask<T> first_lanes(int count) {
  using I = IntegerLike<T>;
  return {(iota<I>() < Vec<I>((I)count)).lanes};
}

// body(place) for the elements [begin, end).
template <typename T, typename Body>
SIMD_INLINE void for_vectors(int64_t begin, int64_t end, Body body) {
  constexpr int width = Vec<T>::width;
  int64_t i = begin;
  for (; i + width <= end; i += width) body(Whole<T>{i, 0});
  if (i < end) body(Edge<T>{i, 0, 0, (int)(end - i)});
}

// What arrays beyond the caches hold is asked for before a loop comes to it: the processor's own prefetchers stop where
// a page ends, and functions that keep it busy would wait there. 48 MiB on one thread of an Emerald Rapids: exp 6.8 ->
// 5.0 ms, log 8.4 -> 6.5, relu 5.3 -> 4.9. A loop that reads one array alone does best four pages ahead: two threads of
// a Zen 5 take 13 % less time for log so than with one page, and 15 to 30 % less for a sum than without, one thread 20
// to 45 %. Sums of two arrays do best without (mean squared errors 15 %).
constexpr int64_t ahead_of_several = 4096, ahead_of_one = 16384;

// A whole vector of such arrays.
template <typename T, int64_t ahead_bytes>
struct Fetched : Whole<T> {
  static constexpr int64_t ahead = ahead_bytes / sizeof(T);
  SIMD_INLINE Vec<T> operator()(const T* array) const {
    __builtin_prefetch(array + this->index + ahead);
    return load(array + this->index);
  }
};

// The same, written past the caches.
template <typename T, int64_t ahead_bytes = ahead_of_several>
struct Streamed : Fetched<T, ahead_bytes> {
  SIMD_INLINE void store(T* array, Vec<T> v) const { stream_store(array + this->index, v); }
};

// The same place of one array that is read alone.
template <typename T>
SIMD_INLINE Fetched<T, ahead_of_one> fetched(const Whole<T>& at) {
  return {at};
}
template <typename T>
SIMD_INLINE Edge<T> fetched(const Edge<T>& at) {
  return at;
}

// The same place, written past the caches if it is a whole register's.
template <typename T>
SIMD_INLINE Streamed<T> past_caches(const Whole<T>& at) {
  return {{at}};
}
template <typename T>
SIMD_INLINE Edge<T> past_caches(const Edge<T>& at) {
  return at;
}

// The place in an array that every row uses again and that is in cache: not asked for ahead. A page beyond the end of a
// short array there may be none, and to find that out takes long.
template <typename T>
SIMD_INLINE Whole<T> cached(const Whole<T>& at) {
  return at;
}
template <typename T>
SIMD_INLINE Edge<T> cached(const Edge<T>& at) {
  return at;
}

// Outputs of this size would push everything else out of the caches, and not be found there later. Written past them,
// no line is read before it is overwritten: 64 MB of relu 6.1 -> 4.0 ms on 2 threads of a Zen 4 with 32 MB of L3 cache;
// below that size the next kernel pays for it.
constexpr int64_t streamed_bytes = 32 << 20;

// The same as for_vectors for a body that writes nothing but out; native_finish_streams() has to follow the last call.
template <int64_t ahead_bytes = ahead_of_several, typename T, typename Body>
SIMD_INLINE void for_streamed_vectors(const T* out, int64_t begin, int64_t end, Body body) {
  constexpr int width = Vec<T>::width;
  int64_t i = begin;
  int head = (int)((uintptr_t)(out + begin) % vector_bytes / sizeof(T));
  if (head > 0) {
    head = end - begin < width - head ? (int)(end - begin) : width - head;
    body(Edge<T>{i, 0, 0, head});
    i += head;
  }
  for (; i + width <= end; i += width) body(Streamed<T, ahead_bytes>{{{i, 0}}});
  if (i < end) body(Edge<T>{i, 0, 0, (int)(end - i)});
}

// out[begin, end) from source, which is in cache and no longer needed there.
template <typename T>
SIMD_INLINE void stream_copy(const T* source, T* out, int64_t begin, int64_t end) {
  for_streamed_vectors(out, begin, end, [=](auto at) { at.store(out, cached(relative_to(at, begin))(source)); });
}

// Either of them.
template <int64_t ahead_bytes = ahead_of_several, typename T, typename Body>
SIMD_INLINE void for_vectors(bool is_streamed, const T* out, int64_t begin, int64_t end, Body body) {
  if (is_streamed)
    for_streamed_vectors<ahead_bytes>(out, begin, end, body);
  else
    for_vectors<T>(begin, end, body);
}

// Some neighbouring columns of a matrix whose rows are stride elements apart.
template <typename T, int vector_count>
struct WholeStrip {
  static constexpr int vectors = vector_count;
  int64_t column, stride;
  SIMD_INLINE Whole<T> at(int64_t row, int k) const { return {row * stride + column + k * Vec<T>::width, row, k}; }
  SIMD_INLINE Whole<T> top(int k) const { return at(0, k); }  // in an array with one element per column
};

template <typename T>
struct EdgeStrip {
  static constexpr int vectors = 1;
  int64_t column, stride;
  int count;
  SIMD_INLINE Edge<T> at(int64_t row, int k) const { return {row * stride + column, row, k, count}; }
  SIMD_INLINE Edge<T> top(int k) const { return at(0, k); }
};

// Four vectors side by side hide the latency of an addition.
constexpr int strip_vectors = 4;
template <typename T>
constexpr int strip_columns = strip_vectors * Vec<T>::width;

// body(strip) for the columns [begin, end); threads must split columns at multiples of strip_columns.
template <typename T, typename Body>
SIMD_INLINE void for_strips(int64_t begin, int64_t end, int64_t stride, Body body) {
  constexpr int width = Vec<T>::width;
  int64_t column = begin;
  for (; column + strip_columns<T> <= end; column += strip_columns<T>)
    body(WholeStrip<T, strip_vectors>{column, stride});
  for (; column + width <= end; column += width) body(WholeStrip<T, 1>{column, stride});
  if (column < end) body(EdgeStrip<T>{column, stride, (int)(end - column)});
}

// How many rows of this length are worth waking a thread for.
inline int64_t grain_of(int64_t row_length, int64_t elements = 16384) {
  return row_length >= elements ? 1 : elements / (row_length > 0 ? row_length : 1);
}

}  // namespace
}  // namespace MINIDL_TARGET
