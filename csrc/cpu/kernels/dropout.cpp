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
  const bool is_streamed = size * (int64_t)sizeof(T) >= streamed_bytes && x != out;
  parallel_for(
      stream, size, 16384,
      [=](int64_t begin, int64_t end) {
        alignas(64) T factors[per_group];
        for (int64_t first = begin; first < end; first += per_group) {
          dropout.of_group(first / per_group, factors);
          const T* from = x + first;
          T* to = out + first;
          const int64_t count = end - first < per_group ? end - first : per_group;
          for_vectors(is_streamed, to, 0, count, [=, &factors](auto at) { at.store(to, at(from) * at(factors)); });
        }
        native_finish_streams();
      },
      per_group);
}

}  // namespace
EXPORT(dropout_forward)

}  // namespace MINIDL_TARGET
