// What the machine's roofs are measured with.
#include "families.h"
#include "unary.h"

namespace minidl {

void bind_roof(py::module_& m) {
  define_unary(m, ENTRY(multiply_add), "factor"_a, "term"_a);
  m.def(
      "triad",
      [](Array a, Array b, Array out, double factor, bool bypass_cache) {
        ARRAYS(triad, a, b, out);
        require_same_shape(a, b);
        require_same_shape(a, out);
        run(ENTRY(triad), a.dtype, a, b, out, a.size(), factor, bypass_cache);
      },
      maths::triad, "a"_a, "b"_a, "out"_a, "factor"_a, "bypass_cache"_a = false);
}

}  // namespace minidl
