// Losses: those of class labels, fused with their gradients, and the losses that compare element by element.
#include "float_mode.h"
#include "kernels.h"
#include "pairwise.h"
#include "parallel.h"
#include "rows.h"
#include "simd.h"
#include "simd_math.h"

namespace MINIDL_TARGET {

namespace {

// ---- class labels

// Sum over the chunks of part(begin, end), on several threads, in one order.
template <typename Part>
double sum_chunks(Stream stream, Chunks chunks, Part part) {
  double sums[max_chunks];
  parallel_for(
      stream, chunks.count, 1,
      [&](int64_t first, int64_t last) {
        for (int64_t c = first; c < last; ++c) sums[c] = part(chunks.begin(c), chunks.end(c));
      },
      1);
  return merge_pairwise(sums, chunks.count, 1, [](double a, double b) { return a + b; });
}

// Sum of part(begin, end) over pieces of so many rows, which it adds one by one.
constexpr int64_t rows_of_leaf = 64;
template <typename Part>
double sum_leaves(int64_t first, int64_t last, const Part& part) {
  if (last - first <= rows_of_leaf) return part(first, last);
  int64_t middle = pairwise_middle(first, last, rows_of_leaf);
  return sum_leaves(first, middle, part) + sum_leaves(middle, last, part);
}

// The rows' labels, and how much each counts.
template <typename T>
struct Labels {
  const int64_t* labels;
  const T* class_weight;
  int64_t classes, ignore_index;

  SIMD_INLINE bool is_valid(int64_t label) const { return (label >= 0) & (label < classes); }
  // nan for a label that is out of range
  SIMD_INLINE T weight_of(int64_t label) const {
    if (label == ignore_index) return 0;
    if (!is_valid(label)) return (T)__builtin_nanf("");
    return class_weight ? class_weight[label] : 1;
  }

  // What the gradient of a loss is multiplied by that is divided by divisor: 0 where no row counts.
  static T scale_of(double divisor) { return divisor == 0 ? 0 : (T)(1 / divisor); }

  // What the sum of the rows' losses is divided by.
  double divisor(Stream stream, int64_t rows, Reduction reduction) const {
    if (reduction != Reduction::mean) return 1;
    return sum_chunks(stream, Chunks(rows), [this](int64_t begin, int64_t end) {
      return sum_leaves(begin, end, [this](int64_t first, int64_t last) { return sum_of_weights(first, last); });
    });
  }

  // Without weights of classes the rows are only counted, which waits for no addition.
  double sum_of_weights(int64_t first, int64_t last) const {
    if (class_weight) {
      double total = 0;
      for (int64_t row = first; row < last; ++row) total += weight_of(labels[row]);
      return total;
    }
    int64_t ignored = 0, wrong = 0;
    for (int64_t row = first; row < last; ++row) {
      const bool is_ignored = labels[row] == ignore_index;
      ignored += is_ignored;
      wrong += !is_ignored & !is_valid(labels[row]);
    }
    return wrong ? __builtin_nan("") : (double)(last - first - ignored);
  }
};

// ---- cross-entropy

// What does not change from row to row.
template <typename T>
struct CrossEntropy : Labels<T> {
  const T* logits;
  T *loss, *grad_logits;
  double label_smoothing;
  Reduction reduction;
  bool is_streamed;  // the gradient
  T weight_sum;      // over all classes
  using Labels<T>::labels;
  using Labels<T>::class_weight;
  using Labels<T>::classes;
  using Labels<T>::ignore_index;

  // The loss of one row, or of one row per lane; grad_logits = scale * its gradient.
  template <typename Rows>
  SIMD_INLINE Vec<T> of_rows(Rows rows, const T* x, T* grad, T scale) const {
    const Vec<T> nothing{};
    const Mask<T> is_ignored = rows.are_equal(labels, ignore_index);
    const auto label = rows.columns_from(labels);
    const Vec<T> one(T(1)), of_wrong_label((T)__builtin_nanf(""));
    auto weight_at = [=, this](auto at) { return class_weight ? rows.of_column(class_weight, at) : one; };
    const Vec<T> weight = class_weight ? rows.pick(label, weight_at) : one;
    auto unless_ignored = [=](Vec<T> v) { return select(is_ignored, nothing, v); };
    const Vec<T> own = unless_ignored(
                     select(rows.are_columns(label), Vec<T>((T)(1 - label_smoothing)) * weight, of_wrong_label)),
                 share = unless_ignored(Vec<T>((T)(label_smoothing / classes)));  // of every class
    Vec<T> shift = rows.largest([=](auto at) { return at(x); });
    Vec<T> label_logit = rows.pick(label, [=](auto at) { return at(x); });
    Vec<T> sum = rows.sum([=](auto at) {
      Vec<T> power = exp(at(x) - shift);
      if (grad) at.store(grad, power);
      return power;
    });
    Vec<T> log_sum = log(sum), loss = own * (log_sum - (label_logit - shift));
    if (label_smoothing > 0)
      loss += share * rows.sum([=](auto at) { return (log_sum - (at(x) - shift)) * weight_at(at); });
    if (grad) {
      // powers to probabilities, minus what the label gives to its own class and to every class
      Vec<T> to_gradient = (own + share * Vec<T>(weight_sum)) / sum * Vec<T>(scale);
      Vec<T> scaled_own = own * Vec<T>(scale), scaled_share = share * Vec<T>(scale);
      auto minus_own = [=](auto at, Vec<T> all) { return select(rows.is_there(label, at), all - scaled_own, all); };
      if (label_smoothing > 0)
        rows.finish(grad,
                    [=](auto at) { return minus_own(at, at(grad) * to_gradient - scaled_share * weight_at(at)); });
      else
        rows.finish(grad, [=](auto at) { return minus_own(at, at(grad) * to_gradient); });
    }
    // 0 * infinity would be nan
    return select((own == nothing) & (share == nothing), nothing, loss);
  }

  // The sum of the losses of the rows [first, last); each goes to loss where they are not reduced.
  double of_leaf(int64_t first, int64_t last, T scale) const {
    double total = 0;
    for_rows<T>(
        first, last, classes, logits, nullptr, grad_logits,
        [&](auto rows, const T* x, const T*, T* grad) {
          Vec<T> losses = of_rows(rows, x, grad, scale);
          total += rows.sum_of_rows(losses);
          if (reduction == Reduction::none) rows.store(loss + rows.row, losses);
        },
        is_streamed);
    return total;
  }
};

template <typename T>
void cross_entropy_forward(Stream stream, const T* logits, const int64_t* labels, const T* class_weight, T* loss,
                           T* grad_logits, int64_t rows, int64_t classes, int64_t ignore_index, double label_smoothing,
                           Reduction reduction) {
  const bool is_streamed = are_streamed(rows, classes, logits, (const T*)nullptr, grad_logits);
  CrossEntropy<T> of{{labels, class_weight, classes, ignore_index},
                     logits,
                     loss,
                     grad_logits,
                     label_smoothing,
                     reduction,
                     is_streamed,
                     0};
  of.weight_sum = class_weight ? sum_row<T>(0, classes, [=](auto at) { return at(class_weight); }) : (T)classes;
  double divisor = of.divisor(stream, rows, reduction);
  const T scale = of.scale_of(divisor);
  // The exponentials make a row worth more than its size.
  double total = sum_chunks(stream, Chunks(rows, 4 * classes), [&](int64_t begin, int64_t end) {
    double sum = sum_leaves(begin, end, [&](int64_t first, int64_t last) { return of.of_leaf(first, last, scale); });
    native_finish_streams();
    return sum;
  });
  if (reduction != Reduction::none) loss[0] = (T)(total / divisor);
}

// ---- negative log-likelihood

template <typename T>
void nll_forward(Stream stream, const T* log_probs, const int64_t* labels, const T* class_weight, T* loss,
                 T* grad_log_probs, int64_t rows, int64_t classes, int64_t ignore_index, Reduction reduction) {
  const Labels<T> of{labels, class_weight, classes, ignore_index};
  double divisor = of.divisor(stream, rows, reduction);
  const T scale = of.scale_of(divisor);
  // The loss of a row; grad, which is null or the gradient to the row, is 0 so far.
  auto of_row = [=](int64_t row, T* grad) -> T {
    const int64_t label = labels[row];
    if (label == ignore_index) return 0;
    const T weight = of.weight_of(label);
    if (!of.is_valid(label)) {
      for (int64_t c = 0; grad && c < classes; ++c) grad[c] = weight;  // nan
      return weight;
    }
    if (grad) grad[label] = -scale * weight;
    return -weight * log_probs[row * classes + label];
  };
  // The sum of some rows' losses; grad is null or the gradient to the first.
  auto of_rows = [=](int64_t first, int64_t last, T* grad) {
    if (grad) for_vectors<T>(0, (last - first) * classes, [=](auto at) { at.store(grad, Vec<T>{}); });
    double sum = 0;
    for (int64_t row = first; row < last; ++row) {
      const T own = of_row(row, grad ? grad + (row - first) * classes : nullptr);
      if (reduction == Reduction::none) loss[row] = own;
      sum += own;
    }
    return sum;
  };
  // The same past the caches, so many rows at a time as a buffer holds.
  auto of_streamed_rows = [=](int64_t first, int64_t last) {
    alignas(64) T grad[max_streamed_columns];
    const int64_t rows_at_a_time = max_streamed_columns / classes;
    double sum = 0;
    for (int64_t row = first; row < last; row += rows_at_a_time) {
      const int64_t next = row + rows_at_a_time < last ? row + rows_at_a_time : last;
      sum += of_rows(row, next, grad);
      stream_copy(grad, grad_log_probs, row * classes, next * classes);
    }
    return sum;
  };
  const bool is_streamed = are_streamed(rows, classes, log_probs, (const T*)nullptr, grad_log_probs);
  double total = sum_chunks(stream, Chunks(rows, classes), [&](int64_t begin, int64_t end) {
    double sum = sum_leaves(begin, end, [&](int64_t first, int64_t last) {
      if (is_streamed) return of_streamed_rows(first, last);
      return of_rows(first, last, grad_log_probs ? grad_log_probs + first * classes : nullptr);
    });
    native_finish_streams();
    return sum;
  });
  if (reduction != Reduction::none) loss[0] = (T)(total / divisor);
}

// ---- element by element

template <typename T, typename Value>
SIMD_INLINE void map_elements(Stream stream, int64_t size, T* out, Value value) {
  const bool is_streamed = size * (int64_t)sizeof(T) >= streamed_bytes;
  parallel_for(stream, size, 16384, [=](int64_t begin, int64_t end) {
    for_vectors(is_streamed, out, begin, end, [=](auto at) { at.store(out, value(at)); });
    native_finish_streams();
  });
}

// loss = value(place), reduced
template <typename T, typename Value>
SIMD_INLINE void loss_forward(Stream stream, T* loss, int64_t size, Reduction reduction, Value value) {
  if (reduction == Reduction::none) return map_elements(stream, size, loss, value);
  T sum = parallel_sum<T>(stream, size, value);
  loss[0] = reduction == Reduction::mean ? sum / (T)size : sum;
}

// grad = grad_out * slope(place), where slope is the derivative of the loss of one element
template <typename T, typename Slope>
SIMD_INLINE void loss_backward(Stream stream, const T* grad_out, T* grad, int64_t size, Reduction reduction,
                               Slope slope) {
  if (reduction == Reduction::none)
    return map_elements(stream, size, grad, [=](auto at) { return at(grad_out) * slope(at); });
  Vec<T> scale(reduction == Reduction::mean ? grad_out[0] / (T)size : grad_out[0]);
  map_elements(stream, size, grad, [=](auto at) { return scale * slope(at); });
}

template <typename T>
SIMD_INLINE Vec<T> sign(Vec<T> x) {
  Vec<T> zero{}, one(T(1));
  return select(x > zero, one, select(x < zero, -one, x));
}

template <typename T>
void bce_forward(Stream stream, const T* probs, const T* target, T* loss, int64_t size, Reduction reduction) {
  loss_forward(stream, loss, size, reduction, [=](auto at) {
    Vec<T> p = at(probs), t = at(target), one(T(1)), least(T(-100));  // max() keeps the nan of its second operand
    return -(t * max(least, log(p)) + (one - t) * max(least, log1p(-p)));
  });
}

template <typename T>
void bce_backward(Stream stream, const T* probs, const T* target, const T* grad_out, T* grad_probs, int64_t size,
                  Reduction reduction) {
  loss_backward(stream, grad_out, grad_probs, size, reduction, [=](auto at) {
    Vec<T> p = at(probs);
    return (p - at(target)) / max(Vec<T>(T(1e-12)), p * (Vec<T>(T(1)) - p));
  });
}

template <typename T>
void bce_with_logits_forward(Stream stream, const T* logits, const T* target, T* loss, int64_t size,
                             Reduction reduction) {
  loss_forward(stream, loss, size, reduction, [=](auto at) {
    Vec<T> x = at(logits);
    return max(Vec<T>{}, x) - x * at(target) + softplus_tail(abs(x));
  });
}

template <typename T>
void bce_with_logits_backward(Stream stream, const T* logits, const T* target, const T* grad_out, T* grad_logits,
                              int64_t size, Reduction reduction) {
  loss_backward(stream, grad_out, grad_logits, size, reduction,
                [=](auto at) { return sigmoid(at(logits)) - at(target); });
}

template <typename T>
void mse_forward(Stream stream, const T* x, const T* target, T* loss, int64_t size, Reduction reduction) {
  loss_forward(stream, loss, size, reduction, [=](auto at) {
    Vec<T> difference = at(x) - at(target);
    return difference * difference;
  });
}

template <typename T>
void mse_backward(Stream stream, const T* x, const T* target, const T* grad_out, T* grad_x, int64_t size,
                  Reduction reduction) {
  loss_backward(stream, grad_out, grad_x, size, reduction,
                [=](auto at) { return Vec<T>(T(2)) * (at(x) - at(target)); });
}

template <typename T>
void l1_forward(Stream stream, const T* x, const T* target, T* loss, int64_t size, Reduction reduction) {
  loss_forward(stream, loss, size, reduction, [=](auto at) { return abs(at(x) - at(target)); });
}

template <typename T>
void l1_backward(Stream stream, const T* x, const T* target, const T* grad_out, T* grad_x, int64_t size,
                 Reduction reduction) {
  loss_backward(stream, grad_out, grad_x, size, reduction, [=](auto at) { return sign(at(x) - at(target)); });
}

template <typename T>
void smooth_l1_forward(Stream stream, const T* x, const T* target, T* loss, int64_t size, Reduction reduction,
                       double beta) {
  Vec<T> limit((T)beta), curvature((T)(0.5 / beta)), half((T)(0.5 * beta));
  loss_forward(stream, loss, size, reduction, [=](auto at) {
    Vec<T> distance = abs(at(x) - at(target));
    return select(distance < limit, curvature * distance * distance, distance - half);
  });
}

template <typename T>
void smooth_l1_backward(Stream stream, const T* x, const T* target, const T* grad_out, T* grad_x, int64_t size,
                        Reduction reduction, double beta) {
  Vec<T> limit((T)beta);
  loss_backward(stream, grad_out, grad_x, size, reduction, [=](auto at) {
    Vec<T> difference = at(x) - at(target);
    return select(abs(difference) < limit, difference / limit, sign(difference));
  });
}

template <typename T>
void huber_forward(Stream stream, const T* x, const T* target, T* loss, int64_t size, Reduction reduction,
                   double delta) {
  Vec<T> limit((T)delta), half(T(0.5));
  loss_forward(stream, loss, size, reduction, [=](auto at) {
    Vec<T> distance = abs(at(x) - at(target));
    return select(distance <= limit, half * distance * distance, limit * (distance - half * limit));
  });
}

template <typename T>
void huber_backward(Stream stream, const T* x, const T* target, const T* grad_out, T* grad_x, int64_t size,
                    Reduction reduction, double delta) {
  Vec<T> limit((T)delta);
  loss_backward(stream, grad_out, grad_x, size, reduction,
                [=](auto at) { return min(limit, max(-limit, at(x) - at(target))); });
}

}  // namespace
EXPORT_FLUSHING(cross_entropy_forward)
EXPORT(nll_forward)
EXPORT(bce_forward)
EXPORT(bce_backward)
EXPORT_FLUSHING(bce_with_logits_forward)
EXPORT_FLUSHING(bce_with_logits_backward)
EXPORT(mse_forward)
EXPORT(mse_backward)
EXPORT(l1_forward)
EXPORT(l1_backward)
EXPORT(smooth_l1_forward)
EXPORT(smooth_l1_backward)
EXPORT(huber_forward)
EXPORT(huber_backward)

}  // namespace MINIDL_TARGET
