// Dropout: its bits are drawn again from the ticket in backward.
#include "dropout.h"

#include "kernels.h"
#include "parallel.h"
#include "traversal.h"

namespace MINIDL_TARGET {

namespace {

template <typename T>
void dropout_forward(Stream stream, const T* x, const int64_t* ticket, T* out, int64_t size, double p) {
  const DropoutFactors<T> dropout(ticket, p);
  constexpr int per_group = DropoutFactors<T>::per_group;
  parallel_for(
      stream, size, 16384,
      [=](int64_t begin, int64_t end) {
        alignas(64) T factors[per_group];
        for (int64_t first = begin; first < end; first += per_group) {
          dropout.of_group(first / per_group, factors);
          const T* from = x + first;
          T* to = out + first;
          for_vectors<T>(0, end - first < per_group ? end - first : per_group,
                         [=, &factors](auto at) { at.store(to, at(from) * at(factors)); });
        }
      },
      per_group);
}

}  // namespace
EXPORT(dropout_forward)

}  // namespace MINIDL_TARGET
