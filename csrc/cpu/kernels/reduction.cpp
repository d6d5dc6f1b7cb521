// Sum, extremes and variance along one dimension: x is outer x reduced x inner.
#include <string.h>

#include "bands.h"
#include "best.h"
#include "kernels.h"
#include "moments.h"
#include "pairwise.h"
#include "parallel.h"
#include "rows.h"
#include "scratch.h"
#include "simd.h"

namespace MINIDL_TARGET {

namespace {

// A reducer gives a Part for a range of the reduced dimension - of one row, or of a band of columns -, merges the parts
// of neighbouring ranges and finishes an output.
template <typename T, typename Reducer>
SIMD_INLINE void reduce_range(const Reducer& reducer, const T* x, int64_t reduced, int64_t inner, int64_t begin,
                              int64_t end, int64_t column, int64_t columns, typename Reducer::Part* parts) {
  if (inner == 1)
    parts[0] = reducer.of_row(x, begin, end);
  else
    for_bands<T>(column, column + columns, reduced, inner,
                 [&](Band band) { reducer.of_columns(band, x, begin, end, parts + (band.column - column)); });
}

// A tall matrix may have more outputs, whose parts do not fit on the stack.
constexpr int64_t max_split_outputs = 64, max_tall_outputs = 4096;

// Threads share the reduced dimension in fixed chunks.
template <typename T, typename Reducer>
void reduce_chunks(Stream stream, const Reducer& reducer, const T* x, int64_t outer, int64_t reduced, int64_t inner,
                   Chunks chunks) {
  int64_t outputs = outer * inner;
  typename Reducer::Part few[max_chunks * max_split_outputs], *parts = few;
  if (outputs > max_split_outputs)
    parts = (typename Reducer::Part*)minidl::scratch_memory(chunks.count * outputs * sizeof(few[0]));
  parallel_for(
      stream, chunks.count, 1,
      [&](int64_t first, int64_t last) {
        for (int64_t c = first; c < last; ++c)
          for (int64_t o = 0; o < outer; ++o)
            reduce_range(reducer, x + o * reduced * inner, reduced, inner, chunks.begin(c), chunks.end(c), 0, inner,
                         parts + c * outputs + o * inner);
      },
      1);
  for (int64_t i = 0; i < outputs; ++i)
    reducer.finish(i, merge_pairwise(parts + i, chunks.count, outputs, Reducer::merge));
}

template <typename T, typename Reducer>
void reduce(Stream stream, const Reducer& reducer, const T* x, int64_t outer, int64_t reduced, int64_t inner) {
  const bool has_tall_matrix = outer == 1 && inner <= max_tall_outputs && is_tall<T>(reduced, inner);
  if (outer * inner <= max_split_outputs || has_tall_matrix) {
    Chunks chunks(reduced, outer * inner);
    if (chunks.count > 1) return reduce_chunks(stream, reducer, x, outer, reduced, inner, chunks);
  }
  int64_t columns = inner == 1 ? 1 : strip_columns<T>;
  int64_t strips = (inner + columns - 1) / columns;
  parallel_for(
      stream, outer * strips, grain_of(reduced * columns),
      [&](int64_t first, int64_t last) {
        typename Reducer::Part parts[band_columns];
        for (int64_t task = first; task < last;) {
          // Neighbouring strips of one matrix make a band.
          int64_t o = task / strips, strip = task % strips, count = band_columns / columns;
          if (count > strips - strip) count = strips - strip;
          if (count > last - task) count = last - task;
          task += count;
          int64_t column = strip * columns;
          int64_t width = inner - column < count * columns ? inner - column : count * columns;
          reduce_range(reducer, x + o * reduced * inner, reduced, inner, 0, reduced, column, width, parts);
          for (int64_t i = 0; i < width; ++i) reducer.finish(o * inner + column + i, parts[i]);
        }
      },
      1);
}

// ---- sum

// A reduction that reads more than the caches hold asks for it ahead.
template <typename T>
bool exceeds_caches(int64_t outer, int64_t reduced, int64_t inner) {
  return outer * reduced * inner * (int64_t)sizeof(T) >= streamed_bytes;
}
template <bool is_large>
SIMD_INLINE auto read_place(auto at) {
  if constexpr (is_large)
    return fetched(at);
  else
    return at;
}

template <typename T, bool is_large>
struct Sum {
  using Part = T;
  T* out;
  T divisor;
  SIMD_INLINE T of_row(const T* x, int64_t begin, int64_t end) const {
    return sum_row<T>(begin, end, [x](auto at) { return read_place<is_large>(at)(x); });
  }
  SIMD_INLINE void of_columns(Band band, const T* x, int64_t begin, int64_t end, T* parts) const {
    BandSums<T, 1> sums;
    sum_band(band, begin, end, [x](auto at, Vec<T>* sum) { *sum += read_place<is_large>(at)(x); }, sums);
    memcpy(parts, sums.of[0], band.columns * sizeof(T));
  }
  static T merge(T a, T b) { return a + b; }
  SIMD_INLINE void finish(int64_t i, T sum) const { out[i] = sum / divisor; }
};

// body(rows, x) for all rows of a matrix whose rows are so short that they fill the lanes with rows.
template <typename T, typename Body>
SIMD_INLINE void for_all_short_rows(Stream stream, const T* x, int64_t rows, int64_t columns, Body body) {
  parallel_for(
      stream, rows, grain_of(columns, 8192),
      [=](int64_t first, int64_t last) {
        for_short_rows(first, last, columns, x, (const T*)nullptr, (T*)nullptr,
                       [=](auto rows, const T* x, const T*, T*) { body(rows, x); });
      },
      Vec<T>::width);
}
template <typename T>
bool has_short_rows(int64_t reduced, int64_t inner) {
  return inner == 1 && reduced > 0 && reduced <= ShortRows<T>::max_columns;
}

template <typename T>
void sum_forward(Stream stream, const T* x, T* out, int64_t outer, int64_t reduced, int64_t inner, double divisor) {
  if (has_short_rows<T>(reduced, inner))
    return for_all_short_rows(stream, x, outer, reduced, [=](auto rows, const T* x) {
      rows.store(out + rows.row, rows.sum([=](auto at) { return at(x); }) / Vec<T>((T)divisor));
    });
  if (exceeds_caches<T>(outer, reduced, inner))
    reduce(stream, Sum<T, true>{out, (T)divisor}, x, outer, reduced, inner);
  else
    reduce(stream, Sum<T, false>{out, (T)divisor}, x, outer, reduced, inner);
}

// ---- maximum and minimum, with the first place

template <typename T, typename Order, bool is_large>
struct Extreme {
  using Part = Place<T>;
  using Lanes = Best<T, Order>;
  using I = IntegerLike<T>;
  static constexpr int width = Vec<T>::width;
  // Places among rows fit the integer of T's size; a block of one row stays in the first-level cache.
  static constexpr int64_t block_rows = 1 << 20, block_columns = 4096;
  // How far ahead a strip is asked for, of which each row gives a few lines: 20 % less time on a Zen 5 than without.
  static constexpr int64_t rows_ahead = 16;
  T* out;
  int64_t* index;

  static Part merge(Part a, Part b) {
    bool is_better = Order::compare(b.value, a.value) || (b.value != b.value && a.value == a.value);
    return is_better ? b : a;
  }

  SIMD_INLINE Part of_row(const T* x, int64_t begin, int64_t end) const {
    Part best{x[begin], begin};
    for (int64_t i = begin; i < end; i += block_columns) {
      Part part = of_block(x + i, end - i < block_columns ? end - i : block_columns, best.value);
      best = merge(best, {part.value, i + part.index});
    }
    return best;
  }

  // nan as soon as a v is infinite or nan, else 0.
  static SIMD_INLINE Vec<T> add_odd(Vec<T> v, Vec<T> odd) { return fma(v, Vec<T>{}, odd); }

  // The place counts only if it is asked for and the value is better than the best before it: values are found first,
  // without their places, and the place of the best afterwards.
  SIMD_INLINE Part of_block(const T* x, int64_t size, T best_before) const {
    Vec<T> best[4], odd[4] = {};
    for (auto& b : best) b = Vec<T>(x[0]);
    auto offer = [&](Vec<T> v, int k) {
      best[k] = Order::pick(best[k], v);
      odd[k] = add_odd(v, odd[k]);
    };
    int64_t i = 0;
    for (; i + 4 * width <= size; i += 4 * width)
      for (int k = 0; k < 4; ++k) offer(read_place<is_large>(Whole<T>{i + k * width, 0})(x), k);
    for (; i + width <= size; i += width) offer(load(x + i), 0);
    if (i < size) {
      int count = (int)(size - i);
      offer(select(first_lanes<T>(count), load_partial(x + i, count), best[0]), 0);
    }
    Vec<T> all_odd = (odd[0] + odd[1]) + (odd[2] + odd[3]);
    if (any(all_odd != all_odd)) return of_odd_block(x, size);
    T value = fold_lanes(Order::pick(Order::pick(best[0], best[1]), Order::pick(best[2], best[3])),
                         Order::template pick<Vec<T>>);
    if (!index || !Order::compare(value, best_before)) return {value, 0};
    int64_t place = place_of(x, size, value);
    return {x[place], place};
  }

  // The first place of a value that is there.
  static SIMD_INLINE int64_t place_of(const T* x, int64_t size, T value) {
    const Vec<T> wanted(value);
    const Vec<I> lane = iota<I>(), nowhere((I)block_columns);
    for (int64_t i = 0;; i += 4 * width) {
      Vec<I> place = nowhere;
      for (int k = 3; k >= 0; --k) {
        const int64_t at = i + k * width, left = size - at;
        if (left <= 0) continue;
        Mask<T> is_found = left >= width ? load(x + at) == wanted
                                         : (load_partial(x + at, (int)left) == wanted) & first_lanes<T>((int)left);
        place = select(Mask<I>{is_found.lanes}, lane + Vec<I>((I)(k * width)), place);
      }
      if (any(place < nowhere)) return i + min_lanes(place);
    }
  }

  // The same where a number is infinite or nan.
  static __attribute__((noinline)) Part of_odd_block(const T* x, int64_t size) {
    Lanes best{Vec<T>(x[0]), Vec<I>((I)0)};
    Vec<I> places = iota<I>();
    int64_t i = 0;
    for (; i + width <= size; i += width, places += Vec<I>((I)width)) best.offer(load(x + i), places);
    if (i < size) {
      int count = (int)(size - i);
      Vec<T> v = load_partial(x + i, count);
      best.take(Lanes::is_better(v, best.value) & first_lanes<T>(count), v, places);
    }
    return best.over_lanes();
  }

  SIMD_INLINE void of_columns(Band band, const T* x, int64_t begin, int64_t end, Part* parts) const {
    for_strips<T>(band, [&](auto strip) { of_strip(strip, x, begin, end, parts + (strip.column - band.column)); });
  }

  template <typename Strip>
  SIMD_INLINE void of_strip(Strip strip, const T* x, int64_t begin, int64_t end, Part* parts) const {
    for (int64_t from = begin; from < end; from += block_rows) {
      Lanes best[Strip::vectors];
      const int64_t rows = end - from < block_rows ? end - from : block_rows;
      auto offer_rows = [&](auto offer) {
        for (int k = 0; k < Strip::vectors; ++k) best[k] = {strip.at(from, k)(x), Vec<I>((I)0)};
        for (int64_t r = 0; r < rows; ++r)
          for (int k = 0; k < Strip::vectors; ++k) {
            auto at = strip.at(from + r, k);
            if constexpr (is_large) __builtin_prefetch(x + at.index + rows_ahead * strip.stride);
            offer(at(x), (I)r, k);
          }
      };
      Vec<T> odd[Strip::vectors] = {}, all_odd{};
      offer_rows([&](Vec<T> v, I row, int k) {
        best[k].offer_number(v, Vec<I>(row));
        odd[k] = add_odd(v, odd[k]);
      });
      for (int k = 0; k < Strip::vectors; ++k) all_odd += odd[k];
      if (any(all_odd != all_odd)) offer_rows([&](Vec<T> v, I row, int k) { best[k].offer(v, Vec<I>(row)); });
      for (int k = 0; k < Strip::vectors; ++k)
        for (int lane = 0; lane < strip.top(k).count; ++lane) {
          Part part{best[k].value[lane], from + best[k].index[lane]};
          Part& all = parts[k * width + lane];
          all = from == begin ? part : merge(all, part);
        }
    }
  }

  SIMD_INLINE void finish(int64_t i, Part best) const {
    if (out) out[i] = best.value;
    if (index) index[i] = best.index;
  }
};

template <typename Order, typename T>
void extreme(Stream stream, const T* x, T* out, int64_t* index, int64_t outer, int64_t reduced, int64_t inner) {
  if (reduced == 0) return;
  if (!has_short_rows<T>(reduced, inner)) {
    if (exceeds_caches<T>(outer, reduced, inner))
      return reduce(stream, Extreme<T, Order, true>{out, index}, x, outer, reduced, inner);
    return reduce(stream, Extreme<T, Order, false>{out, index}, x, outer, reduced, inner);
  }
  for_all_short_rows(stream, x, outer, reduced, [=](auto rows, const T* x) {
    using I = IntegerLike<T>;
    const Best<T, Order> best = best_of_rows<Order>(rows, x);
    if (out) rows.store(out + rows.row, best.value);
    if (!index) return;
    I places[Vec<T>::width];
    store(places, best.index);
    for (int r = 0; r < rows.rows; ++r) index[rows.row + r] = places[r];
  });
}

template <typename T>
void max_forward(Stream stream, const T* x, T* out, int64_t* index, int64_t outer, int64_t reduced, int64_t inner) {
  extreme<Greater>(stream, x, out, index, outer, reduced, inner);
}

template <typename T>
void min_forward(Stream stream, const T* x, T* out, int64_t* index, int64_t outer, int64_t reduced, int64_t inner) {
  extreme<Less>(stream, x, out, index, outer, reduced, inner);
}

// ---- variance

template <typename T>
struct Variance {
  using Part = Moments;
  const T* x;
  T *mean, *out;
  int64_t reduced, inner;
  double correction;
  SIMD_INLINE Moments of_row(const T* x, int64_t begin, int64_t end) const {
    return begin == end ? Moments{} : row_moments(x, begin, end, shift_from(x[0]));
  }
  SIMD_INLINE void of_columns(Band band, const T* x, int64_t begin, int64_t end, Moments* parts) const {
    BandMoments<T> moments = {};
    alignas(64) T shift[band_columns];
    if (begin < end) {
      band_shift(band, x, shift);
      band_moments(band, x, shift, begin, end, moments);
    }
    for (int64_t i = 0; i < band.columns; ++i) parts[i] = {(double)(end - begin), moments.mean[i], moments.squares[i]};
  }
  static Moments merge(Moments a, Moments b) { return MINIDL_TARGET::merge(a, b); }
  SIMD_INLINE void finish(int64_t i, Moments moments) const {
    double freedom = moments.count - correction;
    if (mean) mean[i] = reduced > 0 ? (T)(shift_of(i) + moments.mean) : (T)__builtin_nan("");
    out[i] = (T)(moments.squares / (freedom > 0 ? freedom : 0));
  }
  SIMD_INLINE T shift_of(int64_t i) const { return shift_from(x[i / inner * reduced * inner + i % inner]); }
};

template <typename T>
void var_forward(Stream stream, const T* x, T* mean, T* out, int64_t outer, int64_t reduced, int64_t inner,
                 double correction) {
  reduce(stream, Variance<T>{x, mean, out, reduced, inner, correction}, x, outer, reduced, inner);
}

}  // namespace
EXPORT(sum_forward)
EXPORT(max_forward)
EXPORT(min_forward)
EXPORT(var_forward)

}  // namespace MINIDL_TARGET
