// What the kernels take that go over all parameters of an optimizer's group in one call.
#pragma once
#include <memory>

#include "binding.h"

namespace minidl {

using Arrays = std::vector<Array>;

// A group's segments, and the arrays that they lie in.
template <typename T>
struct Segments {
  std::vector<Segment<T>> segments;
  Arrays arrays;
  int64_t itemsize = sizeof(T);

  T* pointer(const Array& array) {
    arrays.push_back(array);
    return array.pointer<T>(true);
  }
  double* counter(const Array& array) {
    arrays.push_back(array);
    return array.pointer<double>(true);
  }
};

// What the kernels of a group take: one list per role, with one array per parameter. A list of states or counters may
// be empty: not kept.
struct Group {
  const char* kernel;
  Arrays params, grads;
  std::vector<Arrays> states, counters;

  void require_lengths() const {
    auto require = [this](const Arrays& list, const char* what) {
      if (list.size() != grads.size())
        throw std::invalid_argument(std::string(kernel) + "(): " + what + " must have " + std::to_string(grads.size()) +
                                    " arrays like grads, got " + std::to_string(list.size()));
    };
    require(params, "params");
    for (const Arrays& list : states)
      if (!list.empty()) require(list, "each list of states");
    for (const Arrays& list : counters)
      if (!list.empty()) require(list, "each list of counters");
  }

  // Parameters whose gradient is None are left out.
  template <typename T>
  std::shared_ptr<Segments<T>> segments() {
    require_lengths();
    auto result = std::make_shared<Segments<T>>();
    for (size_t i = 0; i < params.size(); ++i) {
      Array &param = params[i], &grad = grads[i];
      name_arrays(kernel, "param, grad", param, grad);
      if (!grad.is_given) continue;
      require_same_shape(param, grad);
      Segment<T> segment{result->pointer(param), result->pointer(grad), {}, {}, param.size()};
      for (size_t s = 0; s < states.size(); ++s) {
        if (states[s].empty()) continue;
        name_arrays(kernel, "param, state", param, states[s][i]);
        require_same_shape(param, states[s][i]);
        segment.state[s] = result->pointer(states[s][i]);
      }
      for (size_t c = 0; c < counters.size(); ++c) {
        if (counters[c].empty()) continue;
        name_arrays(kernel, "counter", counters[c][i]);
        require_size(counters[c][i], 1);
        segment.counters[c] = result->counter(counters[c][i]);
      }
      result->segments.push_back(segment);
    }
    return result;
  }
};

// Every parameter of the group has the dtype of the first.
template <typename F, typename D, typename... Arguments>
void run_segments(const Entry<F, D>& entry, Group& group, const Arguments&... arguments) {
  auto submit_segments = [&](auto kernel, const auto& segments) {
    submit(entry.name, kernel, segments, (int64_t)segments->segments.size(), arguments...);
  };
  if (!group.params.empty() && group.params[0].dtype == DType::float64)
    submit_segments(active_kernels<double>().*entry.f64, group.segments<double>());
  else
    submit_segments(active_kernels<float>().*entry.f32, group.segments<float>());
}

}  // namespace minidl
