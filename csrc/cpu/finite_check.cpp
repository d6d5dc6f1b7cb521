// A check that numbers are finite, replayed with the step that it is part of.
#include "finite_check.h"

#include <cmath>
#include <memory>

#include "plan.h"

namespace minidl {
namespace {

std::string text_of(double value) { return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf"; }

struct FiniteCheck : Call {
  const void* data = nullptr;
  DType dtype = DType::other;
  int64_t size = 0;
  std::string subject;

  double value(int64_t i) const {
    return dtype == DType::float32 ? static_cast<const float*>(data)[i] : static_cast<const double*>(data)[i];
  }
  void run(Stream) const override {
    for (int64_t i = 0; i < size; ++i)
      if (!std::isfinite(value(i))) throw NotFiniteError(subject + " became " + text_of(value(i)));
  }
};

}  // namespace

void require_finite(const Array& x, const std::string& name) {
  auto check = std::make_unique<FiniteCheck>();
  check->name = "require_finite";
  check->dtype = x.dtype;
  check->data = x.dtype == DType::float32 ? (const void*)x.pointer<const float>(true) : x.pointer<const double>(true);
  check->size = x.size();
  check->subject = name;
  check->run({1});
  Plan* plan = plan_under_way();
  if (!plan) return;
  plan->note_read(x);
  if (!plan->is_recording()) return;
  plan->note_address(&check->data);
  plan->append(std::move(check));
}

}  // namespace minidl
