// What a classifier's step does around its loss as one call.
#include "join.h"

#include <algorithm>
#include <optional>

#include "classifier.h"
#include "lanes.h"
#include "submit.h"

namespace minidl {
namespace {

template <typename Signature>
struct CallOf;
template <typename... Parameters>
struct CallOf<void(Stream, Parameters...)> {
  using Type = KernelCall<Parameters...>;
};
template <typename Signature>
using CallTo = typename CallOf<Signature>::Type;

// The call, if it is one of that kernel.
template <typename Signature>
const CallTo<Signature>* call_to(Signature* kernel, const Call& call) {
  auto* found = dynamic_cast<const CallTo<Signature>*>(&call);
  return found && found->kernel == kernel ? found : nullptr;
}

template <typename T>
struct ClassifierParts {
  const CallTo<linear_forward_signature<T>>* output = nullptr;
  const CallTo<cross_entropy_forward_signature<T>>* loss = nullptr;
  const CallTo<linear_backward_input_signature<T>>* input_gradient = nullptr;

  // Their arguments together, if each goes on with what the one before it wrote, and the kernel knows such shapes.
  std::optional<Classifier<T>> together() const {
    const auto& [x, weight, bias, logits, rows, in_features, classes, activation] = output->parameters;
    const auto& [read_logits, labels, class_weight, loss_value, grad_logits, loss_rows, loss_classes, ignore_index,
                 label_smoothing, reduction] = loss->parameters;
    const auto& [grad_out, read_weight, saved, grad_x, grad_rows, grad_in_features, grad_classes, of_saved] =
        input_gradient->parameters;
    if (logits != read_logits || grad_logits != grad_out || !grad_logits || class_weight || weight != read_weight ||
        activation != Activation::none)
      return {};
    if (rows != loss_rows || rows != grad_rows || classes != loss_classes || classes != grad_classes ||
        in_features != grad_in_features || !can_classify(rows, in_features, classes, reduction))
      return {};
    return Classifier<T>{x,      weight, bias,        logits,  labels,       loss_value,      grad_logits, saved,
                         grad_x, rows,   in_features, classes, ignore_index, label_smoothing, reduction,   of_saved};
  }
};

template <typename T>
struct ClassifierCall : Call {
  ClassifierParts<T> of;
  std::unique_ptr<Call> owned[3];

  // A replay may have moved what the arguments point to since they were looked at.
  void run(Stream stream) const override {
    invoke(name, [&] { classify(stream, *of.together()); });
  }
  std::vector<const Call*> parts() const override { return {of.output, of.loss, of.input_gradient}; }
};

// What the parts write, and what they read but for each other's results. False where the parts at once would overwrite
// what one of them needs.
bool note_extents(Call& call) {
  for (const Call* part : call.parts()) {
    for (const Extent& read : part->reads) {
      bool is_internal = std::any_of(call.writes.begin(), call.writes.end(), [&](const Extent& written) {
        return written.begin == read.begin && written.end == read.end;
      });
      if (!is_internal) call.reads.push_back(read);
    }
    for (const Extent& written : part->writes) {
      if (overlap({written}, call.writes)) return false;
      call.writes.push_back(written);
    }
  }
  return !overlap(call.writes, call.reads);
}

// Puts one call in the place of calls[at], a cross-entropy, and of the two that belong to it, if these may come so much
// later and earlier.
template <typename T>
bool join_at(Calls& calls, size_t at) {
  const Kernels<T>& kernels = active_kernels<T>();
  ClassifierParts<T> parts;
  parts.loss = call_to(kernels.cross_entropy_forward, *calls[at]);
  if (!parts.loss) return false;
  size_t first = at, last = at;
  while (first > 0 && !parts.output) {
    parts.output = call_to(kernels.linear_forward, *calls[--first]);
    if (!parts.output && must_follow(*calls[at], *calls[first])) return false;
  }
  while (last + 1 < calls.size() && !parts.input_gradient)
    parts.input_gradient = call_to(kernels.linear_backward_input, *calls[++last]);
  if (!parts.output || !parts.input_gradient || !parts.together()) return false;
  for (size_t i = first + 1; i < at; ++i)
    if (must_follow(*calls[i], *calls[first])) return false;
  for (size_t i = at + 1; i < last; ++i)
    if (must_follow(*calls[last], *calls[i])) return false;

  auto call = std::make_unique<ClassifierCall<T>>();
  call->name = "linear_cross_entropy";
  call->of = parts;
  if (!note_extents(*call)) return false;
  call->owned[0] = std::move(calls[first]);
  call->owned[1] = std::move(calls[at]);
  call->owned[2] = std::move(calls[last]);
  calls[at] = std::move(call);
  calls.erase(calls.begin() + last);
  calls.erase(calls.begin() + first);
  return true;
}

}  // namespace

Calls joined(Calls calls) {
  for (size_t at = 0; at < calls.size(); ++at)
    if (join_at<float>(calls, at) || join_at<double>(calls, at)) --at;  // one call less stands before it
  return calls;
}

}  // namespace minidl
