// Softmax, its logarithm and logsumexp along rows, forward and backward.
#include "float_mode.h"
#include "kernels.h"
#include "rows.h"
#include "simd.h"
#include "simd_math.h"

namespace MINIDL_TARGET {

namespace {

template <typename T>
void softmax_forward(Stream stream, const T* x, T* out, int64_t rows, int64_t columns) {
  for_all_rows<T>(stream, rows, columns, x, nullptr, out, [](auto row, const T* x, const T*, T* out) {
    Vec<T> shift = row.largest([=](auto at) { return at(x); });
    Vec<T> sum = row.sum([=](auto at) {
      Vec<T> power = exp(at(x) - shift);
      at.store(out, power);
      return power;
    });
    Vec<T> scale = Vec<T>(T(1)) / sum;
    row.finish(out, [=](auto at) { return at(out) * scale; });
  });
}

template <typename T>
void softmax_backward(Stream stream, const T* out, const T* grad_out, T* grad_x, int64_t rows, int64_t columns) {
  for_all_rows<T>(stream, rows, columns, out, grad_out, grad_x,
                  [](auto row, const T* out, const T* grad_out, T* grad_x) {
                    Vec<T> mean = row.sum([=](auto at) { return at(grad_out) * at(out); });
                    row.finish(grad_x, [=](auto at) { return at(out) * (at(grad_out) - mean); });
                  });
}

template <typename T>
void log_softmax_forward(Stream stream, const T* x, T* out, int64_t rows, int64_t columns) {
  for_all_rows<T>(stream, rows, columns, x, nullptr, out, [](auto row, const T* x, const T*, T* out) {
    Vec<T> shift = row.largest([=](auto at) { return at(x); });
    Vec<T> log_sum = log(row.sum([=](auto at) { return exp(at(x) - shift); }));
    row.finish(out, [=](auto at) { return at(x) - shift - log_sum; });
  });
}

template <typename T>
void log_softmax_backward(Stream stream, const T* out, const T* grad_out, T* grad_x, int64_t rows, int64_t columns) {
  for_all_rows<T>(stream, rows, columns, out, grad_out, grad_x,
                  [](auto row, const T* out, const T* grad_out, T* grad_x) {
                    Vec<T> sum = row.sum([=](auto at) { return at(grad_out); });
                    row.finish(grad_x, [=](auto at) { return at(grad_out) - exp(at(out)) * sum; });
                  });
}

// 0 in place of an infinity, from which nothing can be subtracted.
template <typename T>
SIMD_INLINE Vec<T> finite_or_zero(Vec<T> v) {
  return select(abs(v) == Vec<T>((T)__builtin_inff()), Vec<T>{}, v);
}

template <typename T>
void logsumexp_forward(Stream stream, const T* x, T* out, int64_t rows, int64_t columns) {
  for_all_rows<T>(stream, rows, columns, x, nullptr, (T*)nullptr, [out](auto row, const T* x, const T*, T*) {
    Vec<T> shift = finite_or_zero(row.largest([=](auto at) { return at(x); }));
    Vec<T> sum = row.sum([=](auto at) { return exp(at(x) - shift); });
    row.store(out + row.row, log(sum) + shift);
  });
}

template <typename T>
void logsumexp_backward(Stream stream, const T* x, const T* out, const T* grad_out, T* grad_x, int64_t rows,
                        int64_t columns) {
  for_all_rows<T>(stream, rows, columns, x, nullptr, grad_x,
                  [out, grad_out](auto row, const T* x, const T*, T* grad_x) {
                    Vec<T> shift = finite_or_zero(row.load(out + row.row)), grad = row.load(grad_out + row.row);
                    row.finish(grad_x, [=](auto at) { return grad * exp(at(x) - shift); });
                  });
}

}  // namespace
EXPORT_FLUSHING(softmax_forward)
EXPORT_FLUSHING(softmax_backward)
EXPORT_FLUSHING(log_softmax_forward)
EXPORT_FLUSHING(log_softmax_backward)
EXPORT_FLUSHING(logsumexp_forward)
EXPORT_FLUSHING(logsumexp_backward)

}  // namespace MINIDL_TARGET
