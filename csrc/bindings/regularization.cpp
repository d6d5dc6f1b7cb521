// What becomes of the weights after a step.
#include "families.h"
#include "group.h"

namespace minidl {
namespace {

// Weights that a kernel sees as matrices: the first dimension is the rows, the others the columns.
template <typename T>
struct Matrices {
  std::vector<Matrix<T>> segments;
  Arrays arrays;
  int64_t itemsize = sizeof(T);

  Matrices(const char* kernel, Arrays weights) : arrays(std::move(weights)) {
    for (Array& weight : arrays) {
      name_arrays(kernel, "weight", weight);
      require_given(weight);
      if (weight.dims < 2) weight.fail("have at least 2 dimensions");
      const int64_t rows = weight[0];
      segments.push_back({weight.pointer<T>(true), rows, rows > 0 ? weight.size() / rows : 0});
    }
  }
};

}  // namespace

void bind_regularization(py::module_& m) {
  m.def(
      "soft_threshold",
      [](Arrays params, Array schedule, double l1_decay) {
        name_arrays("soft_threshold", "schedule", schedule);
        require_size(schedule, 3);
        Group group{"soft_threshold", params, params, {}, {}};
        run_segments(ENTRY(soft_threshold), group, schedule, l1_decay);
      },
      maths::soft_threshold, "params"_a, "schedule"_a, "l1_decay"_a);
  m.def(
      "limit_row_norms",
      [](Arrays weights, double max_norm) {
        constexpr const char* name = "limit_row_norms";
        const int64_t count = (int64_t)weights.size();
        if (count > 0 && weights[0].dtype == DType::float64)
          submit(name, active_kernels<double>().limit_row_norms,
                 std::make_shared<Matrices<double>>(name, std::move(weights)), count, max_norm);
        else
          submit(name, active_kernels<float>().limit_row_norms,
                 std::make_shared<Matrices<float>>(name, std::move(weights)), count, max_norm);
      },
      maths::limit_row_norms, "weights"_a, "max_norm"_a);
}

}  // namespace minidl
