// How a CPU kernel runs: on how many threads, with which freedom.
#pragma once

namespace minidl {

// Instructions that multiply bfloat16 numbers.
enum class Bfloat16 { none, avx512, amx };

// How float32 products may round their factors: to the sum of so many bfloat16 numbers, 1 or 2, for these instructions.
struct Rounding {
  Bfloat16 instructions = Bfloat16::none;
  int pieces = 1;
};

struct Stream {
  int threads;
  Rounding rounding = {};
};

// As the settings of the process say.
Stream current_stream();

// Only where the CPU has the instructions, and they take so many pieces: kernels do not ask again.
void set_rounding(Rounding rounding);

}  // namespace minidl
