// Activations, forward and backward, element by element.
#include "kernels.h"
#include "parallel.h"
#include "simd.h"

namespace MINIDL_TARGET {

namespace {
template <typename T>
void relu_forward(Stream stream, const T* x, T* out, int64_t size) {
  parallel_for(stream, size, 16384, [=](int64_t begin, int64_t end) {
    constexpr int width = Vec<T>::width;
    int64_t i = begin;
    for (; i + width <= end; i += width) store(out + i, max(Vec<T>{}, load(x + i)));
    if (i < end) store_partial(out + i, max(Vec<T>{}, load_partial(x + i, (int)(end - i))), (int)(end - i));
  });
}
}  // namespace
EXPORT(relu_forward)

}  // namespace MINIDL_TARGET
