// Optimizer steps over all parameters of a group in one pass, and the clipping of their gradients.
#include <math.h>

#include "float_mode.h"
#include "kernels.h"
#include "parallel.h"
#include "segments.h"
#include "simd.h"
#include "simd_math.h"
#include "traversal.h"

namespace MINIDL_TARGET {

namespace {

// ---- walking a group

// One register of a parameter, its gradient and its state.
template <typename T>
struct Lanes {
  Vec<T> param, grad, state[3];
};

// update() on `lanes` elements from i on; all of a register when is_full.
template <int states, bool is_full, typename T, typename Update>
SIMD_INLINE void update_lanes(const Segment<T>& segment, int64_t i, int lanes, const Update& update) {
  auto read = [=](const T* from) { return is_full ? load(from + i) : load_partial(from + i, lanes); };
  auto write = [=](T* to, Vec<T> v) { is_full ? store(to + i, v) : store_partial(to + i, v, lanes); };
  Lanes<T> x{read(segment.param), read(segment.grad), {}};
  for (int k = 0; k < states; ++k)
    if (segment.state[k]) x.state[k] = read(segment.state[k]);
  update(x);
  write(segment.param, x.param);
  for (int k = 0; k < states; ++k)
    if (segment.state[k]) write(segment.state[k], x.state[k]);
}

// Asks for what the loop reads a page later: see Streamed. 12.6 million parameters: Adam 6.1 -> 5.3 ms, Adagrad 4.6
// -> 3.8.
template <int states, typename T>
SIMD_INLINE void fetch_a_page_ahead(const Segment<T>& segment, int64_t i) {
  constexpr int64_t page = ahead_of_several / sizeof(T);
  __builtin_prefetch(segment.param + i + page);
  __builtin_prefetch(segment.grad + i + page);
  for (int k = 0; k < states; ++k)
    if (segment.state[k]) __builtin_prefetch(segment.state[k] + i + page);
}

// Counts a step for every segment, then applies make_update(segment), a function of Lanes, to all its elements.
template <int states, typename T, typename MakeUpdate>
SIMD_INLINE void step_segments(Stream stream, const Segment<T>* segments, int64_t count, MakeUpdate make_update) {
  for (int64_t s = 0; s < count; ++s)
    if (segments[s].counters[0]) *segments[s].counters[0] += 1;
  const minidl::FlushDenormals while_it_lives;
  const int64_t size = total_size(segments, count);
  const bool is_large = size * (int64_t)sizeof(T) >= streamed_bytes / 4;  // together with gradients and states
  share_segments(stream, segments, count, 8192, [=](const Segment<T>& segment, int64_t from, int64_t to) {
    constexpr int width = Vec<T>::width;
    const Segment<T> pointers = segment;
    const auto update = make_update(pointers);
    int64_t i = from;
    for (; i + width <= to; i += width) {
      if (is_large) fetch_a_page_ahead<states>(pointers, i);
      update_lanes<states, true>(pointers, i, width, update);
    }
    if (i < to) update_lanes<states, false>(pointers, i, (int)(to - i), update);
  });
}

// ---- what the rules share

// How every rule begins: the gradient's sign and weight decay, on the parameter itself (decoupled) or as L2 term.
template <typename T>
struct Decay {
  bool maximize, is_l2, is_decoupled;
  T weight_decay, shrink;

  Decay(const double* schedule, bool decoupled, bool maximize)
      : maximize(maximize),
        is_l2(schedule[2] != 0 && !decoupled),
        is_decoupled(schedule[2] != 0 && decoupled),
        weight_decay(T(schedule[2])),
        shrink(T(1 - schedule[0] * schedule[2])) {}

  SIMD_INLINE void operator()(Lanes<T>& x) const {
    if (maximize) x.grad = -x.grad;
    if (is_l2) x.grad = fma(Vec<T>(weight_decay), x.param, x.grad);
    if (is_decoupled) x.param *= Vec<T>(shrink);
  }
};

// beta * average + (1 - beta) * value
template <typename T>
SIMD_INLINE Vec<T> running(double beta, Vec<T> average, Vec<T> value) {
  return fma(Vec<T>(T(beta)), average, Vec<T>(T(1 - beta)) * value);
}

// a / b for b = sqrt(...) + eps, which is infinite where a square was: beside a square root, a division by estimate
// takes a step of Adam from 11 to 7 ns a register (Emerald Rapids).
template <typename T>
SIMD_INLINE Vec<T> divide_by_root(Vec<T> a, Vec<T> b) {
  if constexpr (HasReciprocal<T>) b = min(Vec<T>(T(0x1p100)), b);
  return divide_by_normal(a, b);
}

// ---- rules

template <typename T>
void sgd_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double dampening,
              bool nesterov, bool maximize) {
  const Decay<T> decay(schedule, false, maximize);
  const T lr = T(schedule[0]), momentum = T(schedule[1]);
  step_segments<1>(stream, segments, count, [=](const Segment<T>& segment) {
    const bool has_buffer = segment.state[0] != nullptr;
    const T share = segment.counters[0] && *segment.counters[0] == 1 ? T(1) : T(1 - dampening);
    return [=](Lanes<T>& x) {
      decay(x);
      Vec<T> direction = x.grad;
      if (has_buffer) {
        x.state[0] = fma(Vec<T>(momentum), x.state[0], Vec<T>(share) * x.grad);
        direction = nesterov ? fma(Vec<T>(momentum), x.state[0], x.grad) : x.state[0];
      }
      x.param -= Vec<T>(lr) * direction;
    };
  });
}

template <typename T>
void adam_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double beta2,
               double eps, bool decoupled, bool maximize) {
  const Decay<T> decay(schedule, decoupled, maximize);
  const double lr = schedule[0], beta1 = schedule[1];
  step_segments<3>(stream, segments, count, [=](const Segment<T>& segment) {
    const double steps = *segment.counters[0];
    const bool amsgrad = segment.state[2] != nullptr;
    const T step_size = T(lr / (1 - ::pow(beta1, steps))), root_scale = T(1 / ::sqrt(1 - ::pow(beta2, steps)));
    return [=](Lanes<T>& x) {
      decay(x);
      x.state[0] = running(beta1, x.state[0], x.grad);
      x.state[1] = running(beta2, x.state[1], x.grad * x.grad);
      Vec<T> variance = x.state[1];
      if (amsgrad) variance = x.state[2] = max(x.state[2], x.state[1]);
      x.param -=
          divide_by_root(Vec<T>(step_size) * x.state[0], fma(Vec<T>(root_scale), sqrt(variance), Vec<T>(T(eps))));
    };
  });
}

template <typename T>
void adagrad_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double lr_decay,
                  double eps, bool maximize) {
  const Decay<T> decay(schedule, false, maximize);
  const double lr = schedule[0];
  step_segments<1>(stream, segments, count, [=](const Segment<T>& segment) {
    const T step_size = T(lr / (1 + (*segment.counters[0] - 1) * lr_decay));
    return [=](Lanes<T>& x) {
      decay(x);
      x.state[0] = fma(x.grad, x.grad, x.state[0]);
      x.param -= divide_by_root(Vec<T>(step_size) * x.grad, sqrt(x.state[0]) + Vec<T>(T(eps)));
    };
  });
}

template <typename T>
void rmsprop_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double alpha,
                  double eps, bool maximize) {
  const Decay<T> decay(schedule, false, maximize);
  const T lr = T(schedule[0]), momentum = T(schedule[1]);
  step_segments<3>(stream, segments, count, [=](const Segment<T>& segment) {
    const bool has_buffer = segment.state[1] != nullptr, centered = segment.state[2] != nullptr;
    return [=](Lanes<T>& x) {
      decay(x);
      x.state[0] = running(alpha, x.state[0], x.grad * x.grad);
      Vec<T> variance = x.state[0];
      if (centered) {
        x.state[2] = running(alpha, x.state[2], x.grad);
        variance = max(Vec<T>(T(0)), variance - x.state[2] * x.state[2]);  // rounding may leave it below 0
      }
      Vec<T> direction = divide_by_root(x.grad, sqrt(variance) + Vec<T>(T(eps)));
      if (has_buffer) direction = x.state[1] = fma(Vec<T>(momentum), x.state[1], direction);
      x.param -= Vec<T>(lr) * direction;
    };
  });
}

template <typename T>
void adadelta_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double rho,
                   double eps, bool maximize) {
  const Decay<T> decay(schedule, false, maximize);
  const T lr = T(schedule[0]);
  step_segments<2>(stream, segments, count, [=](const Segment<T>&) {
    return [=](Lanes<T>& x) {
      decay(x);
      x.state[0] = running(rho, x.state[0], x.grad * x.grad);
      Vec<T> delta = sqrt(x.state[1] + Vec<T>(T(eps))) / sqrt(x.state[0] + Vec<T>(T(eps))) * x.grad;
      x.state[1] = running(rho, x.state[1], delta * delta);
      x.param -= Vec<T>(lr) * delta;
    };
  });
}

template <typename T>
void adamax_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double beta2,
                 double eps, bool maximize) {
  const Decay<T> decay(schedule, false, maximize);
  const double lr = schedule[0], beta1 = schedule[1];
  step_segments<2>(stream, segments, count, [=](const Segment<T>& segment) {
    const T step_size = T(lr / (1 - ::pow(beta1, *segment.counters[0])));
    return [=](Lanes<T>& x) {
      decay(x);
      x.state[0] = running(beta1, x.state[0], x.grad);
      x.state[1] = max(Vec<T>(T(beta2)) * x.state[1], abs(x.grad) + Vec<T>(T(eps)));
      x.param -= Vec<T>(step_size) * x.state[0] / x.state[1];
    };
  });
}

template <typename T>
void nadam_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double beta2,
                double eps, double momentum_decay, bool decoupled, bool maximize) {
  const Decay<T> decay(schedule, decoupled, maximize);
  const double lr = schedule[0], beta1 = schedule[1];
  auto mu = [=](double step) { return beta1 * (1 - 0.5 * ::pow(0.96, step * momentum_decay)); };
  for (int64_t s = 0; s < count; ++s) *segments[s].counters[1] *= mu(*segments[s].counters[0] + 1);
  step_segments<2>(stream, segments, count, [=](const Segment<T>& segment) {
    const double steps = *segment.counters[0], product = *segment.counters[1], next = mu(steps + 1);
    const T grad_size = T(lr * (1 - mu(steps)) / (1 - product)), momentum_size = T(lr * next / (1 - product * next));
    const T root_scale = T(1 / ::sqrt(1 - ::pow(beta2, steps)));
    return [=](Lanes<T>& x) {
      decay(x);
      x.state[0] = running(beta1, x.state[0], x.grad);
      x.state[1] = running(beta2, x.state[1], x.grad * x.grad);
      Vec<T> direction = fma(Vec<T>(grad_size), x.grad, Vec<T>(momentum_size) * x.state[0]);
      x.param -= divide_by_root(direction, fma(Vec<T>(root_scale), sqrt(x.state[1]), Vec<T>(T(eps))));
    };
  });
}

template <typename T>
void radam_step(Stream stream, const Segment<T>* segments, int64_t count, const double* schedule, double beta2,
                double eps, bool decoupled, bool maximize) {
  const Decay<T> decay(schedule, decoupled, maximize);
  const double lr = schedule[0], beta1 = schedule[1];
  step_segments<2>(stream, segments, count, [=](const Segment<T>& segment) {
    const double steps = *segment.counters[0], power = ::pow(beta2, steps);
    const double limit = 2 / (1 - beta2) - 1, rho = limit - 2 * steps * power / (1 - power);
    const bool is_rectified = rho > 5;
    double step_size = lr / (1 - ::pow(beta1, steps));
    if (is_rectified)
      step_size *= ::sqrt((1 - power) * (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho));
    return [=](Lanes<T>& x) {
      decay(x);
      x.state[0] = running(beta1, x.state[0], x.grad);
      x.state[1] = running(beta2, x.state[1], x.grad * x.grad);
      Vec<T> direction = Vec<T>(T(step_size)) * x.state[0];
      x.param -= is_rectified ? divide_by_root(direction, sqrt(x.state[1]) + Vec<T>(T(eps))) : direction;
    };
  });
}

// ---- clipping

template <typename T>
void squared_norm(Stream stream, const Segment<T>* segments, int64_t count, double* out) {
  // At most 256 pieces, whose ends depend on the sizes alone, so that the order of summation is fixed.
  constexpr int64_t max_pieces = 256, min_length = 1024;
  const int64_t total = total_size(segments, count);
  const int64_t even_length = (total + max_pieces - 1) / max_pieces;
  const int64_t length = even_length > min_length ? even_length : min_length;
  const int64_t pieces = (total + length - 1) / length;
  double sums[max_pieces] = {};
  double* piece_sums = sums;
  parallel_for(
      stream, pieces, 1 + 16384 / length,
      [=](int64_t begin, int64_t end) {
        for (int64_t piece = begin; piece < end; ++piece)
          for_each_part(segments, count, piece * length, (piece + 1) * length < total ? (piece + 1) * length : total,
                        [=](const Segment<T>& segment, int64_t from, int64_t to) {
                          piece_sums[piece] += sum_of_squares(segment.grad + from, to - from);
                        });
      },
      1);
  out[0] = 0;
  for (int64_t piece = 0; piece < pieces; ++piece) out[0] += sums[piece];
}

template <typename T>
void scale_gradients(Stream stream, const Segment<T>* segments, int64_t count, const double* squared_norm,
                     double max_norm) {
  const double scale = max_norm / (::sqrt(squared_norm[0]) + 1e-6);
  if (scale >= 1) return;  // goes on where the norm is nan
  share_segments(stream, segments, count, 16384, [=](const Segment<T>& segment, int64_t from, int64_t to) {
    T* grad = segment.grad;
    for (int64_t i = from; i < to; ++i) grad[i] *= T(scale);
  });
}

}  // namespace
EXPORT(sgd_step)
EXPORT(adam_step)
EXPORT(adagrad_step)
EXPORT(rmsprop_step)
EXPORT(adadelta_step)
EXPORT(adamax_step)
EXPORT(nadam_step)
EXPORT(radam_step)
EXPORT(squared_norm)
EXPORT(scale_gradients)

}  // namespace MINIDL_TARGET
