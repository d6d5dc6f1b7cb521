// Sums, means, extremes, variances.
#include "binding.h"
#include "families.h"

namespace minidl {
namespace {

// Reductions see x as outer x reduced x inner: three dimensions, or fewer with the missing ones 1.
struct Reduced {
  int64_t outer, reduced, inner;
};
Reduced reduced_of(const Array& x) {
  require_dims(x, 3);
  return {x[0], x[1], x[2]};
}

}  // namespace

void bind_reduction(py::module_& m) {
  m.def(
      "sum_forward",
      [](Array x, Array out, double divisor) {
        ARRAYS(sum_forward, x, out);
        Reduced r = reduced_of(x);
        require_size(out, r.outer * r.inner);
        run(ENTRY(sum_forward), x.dtype, x, out, r.outer, r.reduced, r.inner, divisor);
      },
      maths::sum_forward, "x"_a, "out"_a, "divisor"_a = 1.0);
  auto define_extreme = [&m](auto entry) {
    m.def(
        entry.name,
        [entry](Array x, Array out, Array index) {
          name_arrays(entry.name, "x, out, index", x, out, index);
          Reduced r = reduced_of(x);
          if (r.reduced == 0 && r.outer * r.inner > 0) x.fail("have at least 1 element to reduce");
          if (out.is_given) require_size(out, r.outer * r.inner);
          if (index.is_given) require_size(index, r.outer * r.inner);
          run(entry, x.dtype, x, out, index, r.outer, r.reduced, r.inner);
        },
        entry.maths, "x"_a, "out"_a, "index"_a = py::none());
  };
  define_extreme(ENTRY(max_forward));
  define_extreme(ENTRY(min_forward));
  m.def(
      "var_forward",
      [](Array x, Array mean, Array out, double correction) {
        ARRAYS(var_forward, x, mean, out);
        Reduced r = reduced_of(x);
        if (mean.is_given) require_size(mean, r.outer * r.inner);
        require_size(out, r.outer * r.inner);
        run(ENTRY(var_forward), x.dtype, x, mean, out, r.outer, r.reduced, r.inner, correction);
      },
      maths::var_forward, "x"_a, "mean"_a, "out"_a, "correction"_a = 1.0);
}

}  // namespace minidl
