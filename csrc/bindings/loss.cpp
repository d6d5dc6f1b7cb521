// Losses, of labels and of targets.
#include "binding.h"
#include "families.h"

namespace minidl {
namespace {

// What a loss of class labels takes.
void require_loss_of_labels(const Array& x, const Array& labels, const Array& class_weight, const Array& loss,
                            const Array& grad_x, int64_t ignore_index, Reduction reduction) {
  require_dims(x, 2);
  require_given(labels);
  require_shape(labels, {x[0]});
  require_shape(class_weight, {x[1]});
  require_size(loss, reduction == Reduction::none ? x[0] : 1);
  if (grad_x.is_given) require_same_shape(x, grad_x);
  require_labels(labels, x[1], ignore_index);
}

}  // namespace

void bind_loss(py::module_& m) {
  m.def(
      "cross_entropy_forward",
      [](Array logits, Array labels, Array class_weight, Array loss, Array grad_logits, int64_t ignore_index,
         double label_smoothing, ReductionArgument reduction) {
        ARRAYS(cross_entropy_forward, logits, labels, class_weight, loss, grad_logits);
        require_loss_of_labels(logits, labels, class_weight, loss, grad_logits, ignore_index, reduction);
        run(ENTRY(cross_entropy_forward), logits.dtype, logits, labels, class_weight, loss, grad_logits, logits[0],
            logits[1], ignore_index, label_smoothing, reduction);
      },
      maths::cross_entropy_forward, "logits"_a, "labels"_a, "class_weight"_a, "loss"_a, "grad_logits"_a,
      "ignore_index"_a = -100, "label_smoothing"_a = 0.0, "reduction"_a = m.attr("Reduction").attr("mean"));
  m.def(
      "nll_forward",
      [](Array log_probs, Array labels, Array class_weight, Array loss, Array grad_log_probs, int64_t ignore_index,
         ReductionArgument reduction) {
        ARRAYS(nll_forward, log_probs, labels, class_weight, loss, grad_log_probs);
        require_loss_of_labels(log_probs, labels, class_weight, loss, grad_log_probs, ignore_index, reduction);
        run(ENTRY(nll_forward), log_probs.dtype, log_probs, labels, class_weight, loss, grad_log_probs, log_probs[0],
            log_probs[1], ignore_index, reduction);
      },
      maths::nll_forward, "log_probs"_a, "labels"_a, "class_weight"_a, "loss"_a, "grad_log_probs"_a,
      "ignore_index"_a = -100, "reduction"_a = m.attr("Reduction").attr("mean"));
  m.def(
      "count_correct",
      [](Array logits, Array labels, Array out) {
        ARRAYS(count_correct, logits, labels, out);
        require_dims(logits, 2);
        require_given(labels);
        require_shape(labels, {logits[0]});
        require_size(out, 1);
        run(ENTRY(count_correct), logits.dtype, logits, labels, out, logits[0], logits[1]);
      },
      maths::count_correct, "logits"_a, "labels"_a, "out"_a);
  m.def(
      "append_result",
      [](Array loss, Array correct, Array log) {
        ARRAYS(append_result, loss, correct, log);
        require_size(loss, 1);
        if (correct.is_given) require_size(correct, 1);
        require_dims(log, 1);
        if (log[0] < 3 || log[0] % 2 == 0) log.fail("have 1 + 2 * rows elements");
        run(ENTRY(append_result), loss.dtype, loss, correct, log, log[0] / 2);
      },
      maths::append_result, "loss"_a, "correct"_a, "log"_a);
  auto define_forward = [&m](auto entry, const char* x_name, auto... scalar_name) {
    auto names = std::make_shared<std::string>(std::string(x_name) + ", target, loss");
    auto body = [entry, names](Array x, Array target, Array loss, ReductionArgument reduction, auto... scalar) {
      name_arrays(entry.name, names->c_str(), x, target, loss);
      require_same_shape(x, target);
      require_size(loss, reduction == Reduction::none ? x.size() : 1);
      run(entry, x.dtype, x, target, loss, x.size(), reduction, scalar...);
    };
    if constexpr (sizeof...(scalar_name) == 0)
      m.def(
          entry.name, [body](Array x, Array target, Array loss, ReductionArgument r) { body(x, target, loss, r); },
          entry.maths, py::arg(x_name), "target"_a, "loss"_a, "reduction"_a);
    else
      m.def(
          entry.name,
          [body](Array x, Array target, Array loss, ReductionArgument r, double scalar) {
            body(x, target, loss, r, scalar);
          },
          entry.maths, py::arg(x_name), "target"_a, "loss"_a, "reduction"_a, scalar_name...);
  };
  auto define_backward = [&m](auto entry, const char* x_name, auto... scalar_name) {
    auto names = std::make_shared<std::string>(std::string(x_name) + ", target, grad_out, grad_" + x_name);
    auto body = [entry, names](Array x, Array target, Array grad_out, Array grad_x, ReductionArgument reduction,
                               auto... scalar) {
      name_arrays(entry.name, names->c_str(), x, target, grad_out, grad_x);
      require_same_shape(x, target);
      require_size(grad_out, reduction == Reduction::none ? x.size() : 1);
      require_same_shape(x, grad_x);
      run(entry, x.dtype, x, target, grad_out, grad_x, x.size(), reduction, scalar...);
    };
    if constexpr (sizeof...(scalar_name) == 0)
      m.def(
          entry.name,
          [body](Array x, Array target, Array g, Array grad_x, ReductionArgument r) { body(x, target, g, grad_x, r); },
          entry.maths, py::arg(x_name), "target"_a, "grad_out"_a, "grad_x"_a, "reduction"_a);
    else
      m.def(
          entry.name,
          [body](Array x, Array target, Array g, Array grad_x, ReductionArgument r, double scalar) {
            body(x, target, g, grad_x, r, scalar);
          },
          entry.maths, py::arg(x_name), "target"_a, "grad_out"_a, "grad_x"_a, "reduction"_a, scalar_name...);
  };
  define_forward(ENTRY(bce_forward), "probs");
  define_backward(ENTRY(bce_backward), "probs");
  define_forward(ENTRY(bce_with_logits_forward), "logits");
  define_backward(ENTRY(bce_with_logits_backward), "logits");
  define_forward(ENTRY(mse_forward), "x");
  define_backward(ENTRY(mse_backward), "x");
  define_forward(ENTRY(l1_forward), "x");
  define_backward(ENTRY(l1_backward), "x");
  define_forward(ENTRY(smooth_l1_forward), "x", "beta"_a);
  define_backward(ENTRY(smooth_l1_backward), "x", "beta"_a);
  define_forward(ENTRY(huber_forward), "x", "delta"_a);
  define_backward(ENTRY(huber_backward), "x", "delta"_a);
}

}  // namespace minidl
