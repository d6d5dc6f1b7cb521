// The optimizers' steps, and what clips gradients before them.
#include "families.h"
#include "group.h"

namespace minidl {
namespace {

template <typename... Types>
struct Scalars {};

// How many lists of arrays a step takes, the first `required` of which must not be empty.
struct Lists {
  size_t count, required;

  void require(const char* kernel, const char* what, const std::vector<Arrays>& lists) const {
    if (lists.size() != count)
      throw std::invalid_argument(std::string(kernel) + "(): " + what + " must hold " + std::to_string(count) +
                                  (count == 1 ? " list" : " lists") + " of arrays, got " +
                                  std::to_string(lists.size()));
    for (size_t i = 0; i < required; ++i)
      if (lists[i].empty())
        throw std::invalid_argument(std::string(kernel) + "(): list " + std::to_string(i) + " of " + what +
                                    " must not be empty");
  }
};

// name(params, grads, states, counters, schedule, scalars...)
template <typename F, typename D, typename... Types, typename... Names>
void define_step(py::module_& m, Entry<F, D> entry, Lists state_lists, Lists counter_lists, Scalars<Types...>,
                 const Names&... names) {
  m.def(
      entry.name,
      [=](Arrays params, Arrays grads, std::vector<Arrays> states, std::vector<Arrays> counters, Array schedule,
          Types... scalars) {
        name_arrays(entry.name, "schedule", schedule);
        require_size(schedule, 3);
        if (params.empty() && grads.empty()) return;
        state_lists.require(entry.name, "states", states);
        counter_lists.require(entry.name, "counters", counters);
        Group group{entry.name, std::move(params), std::move(grads), std::move(states), std::move(counters)};
        run_segments(entry, group, schedule, scalars...);
      },
      entry.maths, "params"_a, "grads"_a, "states"_a, "counters"_a, "schedule"_a, names...);
}

}  // namespace

void bind_optimizer(py::module_& m) {
  using D = double;
  using B = bool;
  define_step(m, ENTRY(sgd_step), Lists{1, 0}, Lists{1, 0}, Scalars<D, B, B>(), "dampening"_a, "nesterov"_a,
              "maximize"_a);
  define_step(m, ENTRY(adam_step), Lists{3, 2}, Lists{1, 1}, Scalars<D, D, B, B>(), "beta2"_a, "eps"_a, "decoupled"_a,
              "maximize"_a);
  define_step(m, ENTRY(adagrad_step), Lists{1, 1}, Lists{1, 1}, Scalars<D, D, B>(), "lr_decay"_a, "eps"_a,
              "maximize"_a);
  define_step(m, ENTRY(rmsprop_step), Lists{3, 1}, Lists{1, 0}, Scalars<D, D, B>(), "alpha"_a, "eps"_a, "maximize"_a);
  define_step(m, ENTRY(adadelta_step), Lists{2, 2}, Lists{1, 0}, Scalars<D, D, B>(), "rho"_a, "eps"_a, "maximize"_a);
  define_step(m, ENTRY(adamax_step), Lists{2, 2}, Lists{1, 1}, Scalars<D, D, B>(), "beta2"_a, "eps"_a, "maximize"_a);
  define_step(m, ENTRY(nadam_step), Lists{2, 2}, Lists{2, 2}, Scalars<D, D, D, B, B>(), "beta2"_a, "eps"_a,
              "momentum_decay"_a, "decoupled"_a, "maximize"_a);
  define_step(m, ENTRY(radam_step), Lists{2, 2}, Lists{1, 1}, Scalars<D, D, B, B>(), "beta2"_a, "eps"_a, "decoupled"_a,
              "maximize"_a);
  m.def(
      "squared_norm",
      [](Arrays grads, Array out) {
        name_arrays("squared_norm", "out", out);
        require_size(out, 1);
        Group group{"squared_norm", grads, grads, {}, {}};
        run_segments(ENTRY(squared_norm), group, out);
      },
      maths::squared_norm, "grads"_a, "out"_a);
  m.def(
      "scale_gradients",
      [](Arrays grads, Array squared_norm, double max_norm) {
        name_arrays("scale_gradients", "squared_norm", squared_norm);
        require_size(squared_norm, 1);
        Group group{"scale_gradients", grads, grads, {}, {}};
        run_segments(ENTRY(scale_gradients), group, squared_norm, max_norm);
      },
      maths::scale_gradients, "grads"_a, "squared_norm"_a, "max_norm"_a);
}

}  // namespace minidl
