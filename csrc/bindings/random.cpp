// Random numbers, and dropout.
#include "binding.h"
#include "families.h"

namespace minidl {

void bind_random(py::module_& m) {
  m.def(
      "take_ticket",
      [](Array generator, Array ticket) {
        ARRAYS(take_ticket, generator, ticket);
        require_size(generator, 2);
        require_size(ticket, 2);
        run(ENTRY(take_ticket), DType::float32, generator, ticket);
      },
      maths::take_ticket, "generator"_a, "ticket"_a);
  auto define_integers = [&m](auto entry) {
    m.def(
        entry.name,
        [entry](Array ticket, Array out) {
          name_arrays(entry.name, "ticket, out", ticket, out);
          require_size(ticket, 2);
          require_given(out);
          run(entry, DType::float32, ticket, out, out.size());
        },
        entry.maths, "ticket"_a, "out"_a);
  };
  define_integers(ENTRY(random_bits));
  define_integers(ENTRY(permutation));
  m.def(
      "randint",
      [](Array ticket, Array out, int64_t low, int64_t high) {
        ARRAYS(randint, ticket, out);
        require_size(ticket, 2);
        require_given(out);
        if (low >= high) throw std::invalid_argument("randint(): low must be below high");
        run(ENTRY(randint), DType::float32, ticket, out, out.size(), low, high);
      },
      maths::randint, "ticket"_a, "out"_a, "low"_a, "high"_a);
  auto define_fill = [&m](auto entry, auto first_name, auto second_name) {
    m.def(
        entry.name,
        [entry](Array ticket, Array out, double first, double second) {
          name_arrays(entry.name, "ticket, out", ticket, out);
          require_size(ticket, 2);
          require_given(out);
          run(entry, out.dtype, ticket, out, out.size(), first, second);
        },
        entry.maths, "ticket"_a, "out"_a, first_name, second_name);
  };
  define_fill(ENTRY(uniform), "low"_a, "high"_a);
  define_fill(ENTRY(normal), "mean"_a, "std"_a);
  m.def(
      "bernoulli",
      [](Array ticket, Array out, double p) {
        ARRAYS(bernoulli, ticket, out);
        require_size(ticket, 2);
        require_given(out);
        run(ENTRY(bernoulli), out.dtype, ticket, out, out.size(), p);
      },
      maths::bernoulli, "ticket"_a, "out"_a, "p"_a);
  m.def(
      "dropout_forward",
      [](Array x, Array ticket, Array out, double p) {
        ARRAYS(dropout_forward, x, ticket, out);
        require_size(ticket, 2);
        require_same_shape(x, out);
        run(ENTRY(dropout_forward), x.dtype, x, ticket, out, x.size(), p);
      },
      maths::dropout_forward, "x"_a, "ticket"_a, "out"_a, "p"_a);
}

}  // namespace minidl
