// How a CPU kernel runs: on how many threads, with which freedom.
#pragma once

namespace minidl {

// Whether float32 products may round their factors to bfloat16, and by which instructions they multiply them then.
enum class Bfloat16 { none, avx512, amx };

struct Stream {
  int threads;
  Bfloat16 bfloat16 = Bfloat16::none;
};

// As the settings of the process say.
Stream current_stream();

// Only where the CPU has the instructions: kernels do not ask again.
void set_bfloat16(Bfloat16 instructions);

}  // namespace minidl
