// Batch norm over outer x channels x inner: threads take channels. With inner = 1 the channels are columns and fill the
// lanes; otherwise a channel is outer segments of inner neighbouring elements.
#include <string.h>

#include "activation_gradient.h"
#include "bands.h"
#include "dropout.h"
#include "kernels.h"
#include "moments.h"
#include "pairwise.h"
#include "parallel.h"
#include "scratch.h"
#include "simd.h"
#include "tall_columns.h"

namespace MINIDL_TARGET {

namespace {

// Calls body(begin, end) for ranges of channels.
template <typename T, typename Body>
void for_channels(Stream stream, int64_t outer, int64_t channels, int64_t inner, Body body) {
  parallel_for(stream, channels, grain_of(outer * inner), body, inner == 1 ? strip_columns<T> : 1);
}

// Calls body(segment begin, segment end) for every segment of a channel.
template <typename Body>
SIMD_INLINE void for_segments(int64_t outer, int64_t channels, int64_t inner, int64_t channel, Body body) {
  for (int64_t o = 0; o < outer; ++o) {
    int64_t begin = (o * channels + channel) * inner;
    body(begin, begin + inner);
  }
}

// mean and biased variance of the channels [begin, end)
template <typename T>
void channel_moments(const T* x, T* mean, T* var, int64_t outer, int64_t channels, int64_t inner, int64_t begin,
                     int64_t end) {
  if (inner == 1)
    return for_bands<T>(begin, end, outer, channels, [=](Band band) {
      alignas(64) T shift[band_columns];
      BandMoments<T> moments;
      band_shift(band, x, shift);
      band_moments(band, x, shift, 0, outer, moments);
      for_vectors<T>(0, band.columns, [&](auto at) {
        at.store(mean + band.column, at(shift) + at(moments.mean));
        at.store(var + band.column, at(moments.squares) / Vec<T>((T)outer));
      });
    });
  for (int64_t c = begin; c < end; ++c) {
    Moments moments{};
    T shift = shift_from(x[c * inner]);
    for_segments(outer, channels, inner, c,
                 [&](int64_t from, int64_t to) { moments = merge(moments, row_moments(x, from, to, shift)); });
    mean[c] = (T)(shift + moments.mean);
    var[c] = (T)(moments.squares / moments.count);
  }
}

// One element per channel, in every lane.
template <typename T>
struct OneChannel {
  int64_t index;
  SIMD_INLINE Vec<T> operator()(const T* array) const { return Vec<T>(array[index]); }
};

// (x - mean) * inv_std * weight + bias for the channels at a place; inv_std(place) is computed or read.
template <typename T, typename InvStd>
struct Normalization {
  const T *weight, *bias, *mean;
  InvStd inv_std;

  struct Affine {
    Vec<T> center, scale, shift;
    SIMD_INLINE Vec<T> operator()(Vec<T> x) const { return fma(x - center, scale, shift); }
  };
  template <typename Place>
  SIMD_INLINE Affine of(Place channels) const {
    return {channels(mean), inv_std(channels) * value_or(weight, channels, T(1)), value_or(bias, channels, T(0))};
  }
};

// out = activate(normalization(x)), channel by channel
template <typename T, typename InvStd, typename Activate>
SIMD_INLINE void normalize_channels(const T* x, Normalization<T, InvStd> normalization, T* out, int64_t outer,
                                    int64_t channels, int64_t inner, int64_t begin, int64_t end, Activate activate) {
  if (inner == 1)
    return for_bands<T>(begin, end, outer, channels, [=](Band band) {
      alignas(64) T center[band_columns], scale[band_columns], shift[band_columns];
      for_vectors<T>(0, band.columns, [&](auto at) {
        auto affine = normalization.of(relative_to(at, -band.column));
        at.store(center, affine.center);
        at.store(scale, affine.scale);
        at.store(shift, affine.shift);
      });
      using Affine = typename Normalization<T, InvStd>::Affine;
      for_leaves<T>(
          band, outer, [&](auto top) { return Affine{top(center), top(scale), top(shift)}; },
          [=](auto at, const Affine& affine) { at.store(out, activate(affine(at(x)))); });
    });
  for (int64_t c = begin; c < end; ++c) {
    auto affine = normalization.of(OneChannel<T>{c});
    for_segments(outer, channels, inner, c, [=](int64_t from, int64_t to) {
      for_vectors<T>(from, to, [=](auto at) { at.store(out, activate(affine(at(x)))); });
    });
  }
}

// ---- Tall matrices out of cache: threads take whole rows, in the order of memory, not columns, of which each row
// would hold a few hundred bytes for a thread. Sums are made per chunk of rows and merged in one order.

template <typename T>
bool has_tall_columns(int64_t outer, int64_t channels, int64_t inner) {
  return inner == 1 && is_tall<T>(outer, channels);
}

// body(place in the matrix, place of the channels) for every vector, row by row, where nothing but out is written.
template <int64_t ahead_bytes, typename T, typename Body>
SIMD_INLINE void for_matrix_rows(Stream stream, int64_t rows, int64_t channels, const T* out, Body body) {
  const bool is_streamed = rows * channels * (int64_t)sizeof(T) >= streamed_bytes;
  parallel_for(
      stream, rows, grain_of(channels),
      [=](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
          const int64_t begin = row * channels;
          for_vectors<ahead_bytes>(is_streamed, out, begin, begin + channels,
                                   [=](auto at) { body(at, relative_to(cached(at), begin)); });
        }
        native_finish_streams();
      },
      1);
}

// mean and biased variance of all channels
template <typename T>
void tall_channel_moments(Stream stream, const T* x, T* mean, T* var, int64_t outer, int64_t channels) {
  const Chunks chunks(outer, channels);
  const ChunkTable<T, 2> table(chunks, channels);
  for_row_chunks<T>(stream, chunks, channels, [&](Band band, int64_t chunk) {
    alignas(64) T shift[band_columns];
    BandMoments<T> moments;
    band_shift(band, x, shift);
    band_moments(band, x, shift, chunks.begin(chunk), chunks.end(chunk), moments);
    memcpy(table.of(chunk, 0) + band.column, moments.mean, band.columns * sizeof(T));
    memcpy(table.of(chunk, 1) + band.column, moments.squares, band.columns * sizeof(T));
  });
  for (int64_t c = 0; c < channels; ++c) {
    Moments parts[max_chunks];
    for (int64_t i = 0; i < chunks.count; ++i)
      parts[i] = {(double)(chunks.end(i) - chunks.begin(i)), table.of(i, 0)[c], table.of(i, 1)[c]};
    const Moments moments = merge_pairwise(parts, chunks.count, 1, [](Moments a, Moments b) { return merge(a, b); });
    mean[c] = (T)(shift_from(x[c]) + moments.mean);
    var[c] = (T)(moments.squares / moments.count);
  }
}

// out = dropout(activate(normalization(x))) in the order of memory, which is that of dropout's bits.
template <typename T, typename InvStd, typename Activate>
SIMD_INLINE void normalize_and_drop(Stream stream, const T* x, Normalization<T, InvStd> normalization,
                                    DropoutFactors<T> dropout, T* out, int64_t outer, int64_t channels, int64_t inner,
                                    Activate activate) {
  constexpr int per_group = DropoutFactors<T>::per_group;
  // A line is what lies side by side of one row, or of one channel.
  const int64_t line = inner == 1 ? channels : inner;
  const bool is_streamed = outer * channels * inner * (int64_t)sizeof(T) >= streamed_bytes && x != out;
  parallel_for(
      stream, outer * channels * inner, 16384,
      [=](int64_t begin, int64_t end) {
        alignas(64) T factors[per_group];
        int64_t line_number = begin / line;
        for (int64_t first = begin; first < end; first += per_group) {
          dropout.of_group(first / per_group, factors);
          const int64_t last = end - first < per_group ? end : first + per_group;
          for (int64_t from = first; from < last;) {
            const int64_t line_begin = line_number * line, line_end = line_begin + line;
            const int64_t to = line_end < last ? line_end : last;
            auto finish = [&, first](auto at, auto affine) {
              at.store(out, activate(affine(at(x))) * relative_to(at, first)(factors));
            };
            auto each = [=](auto body) { for_vectors(is_streamed, out, from, to, body); };
            if (inner == 1)
              each([&](auto at) { finish(at, normalization.of(relative_to(at, line_begin))); });
            else
              each([&, affine = normalization.of(OneChannel<T>{line_number % channels})](auto at) {
                finish(at, affine);
              });
            if (to == line_end) ++line_number;
            from = to;
          }
        }
        native_finish_streams();
      },
      per_group);
}

template <typename T>
void batch_norm_forward_training(Stream stream, const T* x, const T* weight, const T* bias, const int64_t* ticket,
                                 T* running_mean, T* running_var, T* out, T* mean, T* inv_std, int64_t outer,
                                 int64_t channels, int64_t inner, double momentum, double eps, Activation activation,
                                 double p) {
  int64_t count = outer * inner;
  if (count == 0) return;
  Vec<T> keep((T)(1 - momentum)), take((T)momentum), unbiased(count > 1 ? (T)count / (T)(count - 1) : T(1));
  T* var = inv_std;  // until its root is taken
  auto finish_statistics = [=](int64_t begin, int64_t end) {
    for_vectors<T>(begin, end, [=](auto at) {
      Vec<T> variance = at(var);
      if (running_mean) at.store(running_mean, keep * at(running_mean) + take * at(mean));
      if (running_var) at.store(running_var, keep * at(running_var) + take * (variance * unbiased));
      at.store(inv_std, Vec<T>(T(1)) / sqrt(variance + Vec<T>((T)eps)));
    });
  };
  auto read = [=](auto at) { return at(inv_std); };
  Normalization<T, decltype(read)> normalization{weight, bias, mean, read};
  const bool has_chunks = has_tall_columns<T>(outer, channels, inner);
  auto run = [=](auto activate) {
    if (has_chunks) {
      tall_channel_moments(stream, x, mean, var, outer, channels);
      finish_statistics(0, channels);
    } else {
      for_channels<T>(stream, outer, channels, inner, [=](int64_t begin, int64_t end) {
        channel_moments(x, mean, var, outer, channels, inner, begin, end);
        finish_statistics(begin, end);
        if (!ticket) normalize_channels(x, normalization, out, outer, channels, inner, begin, end, activate);
      });
    }
    if (has_chunks && !ticket)
      for_matrix_rows<ahead_of_one>(stream, outer, channels, out, [=](auto at, auto channel) {
        at.store(out, activate(normalization.of(channel)(at(x))));
      });
    if (ticket)
      normalize_and_drop(stream, x, normalization, DropoutFactors<T>(ticket, p), out, outer, channels, inner, activate);
  };
  if (activation == Activation::relu)
    run([](Vec<T> v) { return max(Vec<T>{}, v); });
  else
    run([](Vec<T> v) { return v; });
}

template <typename T>
void batch_norm_forward_evaluation(Stream stream, const T* x, const T* weight, const T* bias, const T* running_mean,
                                   const T* running_var, T* out, int64_t outer, int64_t channels, int64_t inner,
                                   double eps) {
  auto inv_std = [=](auto at) { return Vec<T>(T(1)) / sqrt(at(running_var) + Vec<T>((T)eps)); };
  if (has_tall_columns<T>(outer, channels, inner)) {
    T* roots = (T*)minidl::scratch_memory(channels * sizeof(T));
    for_vectors<T>(0, channels, [=](auto at) { at.store(roots, inv_std(at)); });
    auto read = [=](auto at) { return at(roots); };
    Normalization<T, decltype(read)> normalization{weight, bias, running_mean, read};
    return for_matrix_rows<ahead_of_one>(
        stream, outer, channels, out, [=](auto at, auto channel) { at.store(out, normalization.of(channel)(at(x))); });
  }
  Normalization<T, decltype(inv_std)> normalization{weight, bias, running_mean, inv_std};
  for_channels<T>(stream, outer, channels, inner, [=](int64_t begin, int64_t end) {
    normalize_channels(x, normalization, out, outer, channels, inner, begin, end, [](Vec<T> v) { return v; });
  });
}

// The gradient of what batch norm gave: grad_out itself, or grad_out through the relu and the dropout that followed.
template <typename T>
struct PlainGradient {
  const T* grad_out;
  template <typename Place>
  SIMD_INLINE Vec<T> operator()(Place at) const {
    return at(grad_out);
  }
};
template <typename T>
struct GradientThroughRelu {
  const T *out, *grad_out;
  T scale;
  template <typename Place>
  SIMD_INLINE Vec<T> operator()(Place at) const {
    return relu_gradient(at(out), Vec<T>(scale) * at(grad_out));
  }
};

// The sums of a channel that its gradients are made of: of g and of g * (x - mean).
template <typename T, typename Gradient>
struct GradientTerm {
  const T* x;
  Gradient gradient;
  Vec<T> mean;
  template <typename Place>
  SIMD_INLINE void operator()(Place at, Vec<T>* sums) const {
    Vec<T> g = gradient(at);
    sums[0] += g;
    sums[1] = fma(g, at(x) - mean, sums[1]);
  }
};

template <typename T, typename Gradient>
struct BatchNormBackward {
  const T *x, *weight, *mean, *inv_std;
  Gradient gradient;
  T *grad_x, *grad_weight, *grad_bias;
  int64_t outer, channels, inner;

  // What grad_x is made of, besides x and the gradient that comes in, for each column of a band.
  struct Columns {
    alignas(64) T center[band_columns], scale[band_columns], level[band_columns], slope[band_columns];
  };

  struct Column {
    Vec<T> center, scale, level, slope;
  };

  // Of the rows [begin, end): g and g * (x - mean), summed over each column of a band.
  SIMD_INLINE void sum_gradients(Band band, int64_t begin, int64_t end, BandSums<T, 2>& sums) const {
    sum_band(
        band, begin, end, [this](auto top) { return top(mean); },
        [this](auto at, Vec<T> center, Vec<T>* sum) { GradientTerm<T, Gradient>{x, gradient, center}(at, sum); }, sums,
        DoNothing{});
  }

  // Writes the gradients of one vector of channels, and gives what grad_x is made of.
  template <typename Place>
  SIMD_INLINE Column finish(Place channel, Vec<T> bias_sum, Vec<T> centered_sum) const {
    Vec<T> count((T)outer), root = channel(inv_std), weight_sum = root * centered_sum;
    if (grad_bias) channel.store(grad_bias, bias_sum);
    if (grad_weight) channel.store(grad_weight, weight_sum);
    return {channel(mean), root * value_or(weight, channel, T(1)), bias_sum / count, root * weight_sum / count};
  }

  template <typename Place>
  SIMD_INLINE void write(Place at, const Column& c) const {
    at.store(grad_x, c.scale * (gradient(at) - c.level - (at(x) - c.center) * c.slope));
  }

  SIMD_INLINE void band(Band band) const {
    BandSums<T, 2> sums;
    sum_gradients(band, 0, outer, sums);
    Columns columns;
    for_vectors<T>(0, band.columns, [&](auto at) {
      Column c = finish(relative_to(at, -band.column), at(sums.of[0]), at(sums.of[1]));
      at.store(columns.center, c.center);
      at.store(columns.scale, c.scale);
      at.store(columns.level, c.level);
      at.store(columns.slope, c.slope);
    });
    if (!grad_x) return;
    for_leaves<T>(
        band, outer,
        [&](auto top) {
          return Column{top(columns.center), top(columns.scale), top(columns.level), top(columns.slope)};
        },
        [this](auto at, const Column& c) { write(at, c); });
  }

  // All channels of a tall matrix.
  void tall(Stream stream) const {
    auto sum = [this](Band band, int64_t begin, int64_t end, BandSums<T, 2>& sums) {
      sum_gradients(band, begin, end, sums);
    };
    // What grad_x is made of takes the place of sums that have been merged.
    T *center = nullptr, *scale = nullptr, *level = nullptr, *slope = nullptr;
    sum_tall_columns<T, 2>(stream, outer, channels, sum, [&](auto at, Vec<T>* sums, const ChunkTable<T, 2>& table) {
      center = table.of(0, 0), scale = table.of(0, 1), level = table.of(1, 0), slope = table.of(1, 1);
      Column c = finish(at, sums[0], sums[1]);
      at.store(center, c.center);
      at.store(scale, c.scale);
      at.store(level, c.level);
      at.store(slope, c.slope);
    });
    if (grad_x)
      for_matrix_rows<ahead_of_several>(stream, outer, channels, grad_x, [=, this](auto at, auto channel) {
        write(at, Column{channel(center), channel(scale), channel(level), channel(slope)});
      });
  }

  SIMD_INLINE void channel(int64_t c) const {
    GradientTerm<T, Gradient> term{x, gradient, Vec<T>(mean[c])};
    double bias_sum = 0, centered_sum = 0;
    for_segments(outer, channels, inner, c, [&](int64_t from, int64_t to) {
      auto sums = sum_row_lanes<T, 2>(from, to, term);
      bias_sum += sum_lanes(sums.v[0]);
      centered_sum += sum_lanes(sums.v[1]);
    });
    double root = inv_std[c], count = (double)(outer * inner), weight_sum = root * centered_sum;
    if (grad_bias) grad_bias[c] = (T)bias_sum;
    if (grad_weight) grad_weight[c] = (T)weight_sum;
    if (!grad_x) return;
    Vec<T> scale(inv_std[c] * value_or(weight, c, T(1))), level((T)(bias_sum / count));
    Vec<T> slope((T)(root * weight_sum / count)), center(mean[c]);
    for_segments(outer, channels, inner, c, [&](int64_t from, int64_t to) {
      for_vectors<T>(from, to,
                     [&](auto at) { at.store(grad_x, scale * (gradient(at) - level - (at(x) - center) * slope)); });
    });
  }
};

template <typename T>
void batch_norm_backward(Stream stream, const T* x, const T* weight, const T* mean, const T* inv_std, const T* out,
                         const T* grad_out, T* grad_x, T* grad_weight, T* grad_bias, int64_t outer, int64_t channels,
                         int64_t inner, double scale) {
  auto run = [=](auto gradient) {
    BatchNormBackward<T, decltype(gradient)> backward{x,           weight,    mean,  inv_std,  gradient, grad_x,
                                                      grad_weight, grad_bias, outer, channels, inner};
    if (has_tall_columns<T>(outer, channels, inner)) return backward.tall(stream);
    for_channels<T>(stream, outer, channels, inner, [&](int64_t begin, int64_t end) {
      if (inner == 1)
        for_bands<T>(begin, end, outer, channels, [&](Band band) { backward.band(band); });
      else
        for (int64_t c = begin; c < end; ++c) backward.channel(c);
    });
  };
  if (out)
    run(GradientThroughRelu<T>{out, grad_out, (T)scale});
  else
    run(PlainGradient<T>{grad_out});
}

}  // namespace
EXPORT(batch_norm_forward_training)
EXPORT(batch_norm_forward_evaluation)
EXPORT(batch_norm_backward)

}  // namespace MINIDL_TARGET
