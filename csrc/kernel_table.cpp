// The table of the target being compiled, made from kernels.def; never edited.
#include "kernels.h"

namespace MINIDL_TARGET {

#define KERNEL(name, parameters, maths) name##_f32,
extern const Kernels<float> kernels_f32 = {
#include "kernels.def"
};
#undef KERNEL

#define KERNEL(name, parameters, maths) name##_f64,
extern const Kernels<double> kernels_f64 = {
#include "kernels.def"
};
#undef KERNEL

}  // namespace MINIDL_TARGET
