// How a CPU kernel runs: on how many threads, with which freedom.
#pragma once

namespace minidl {

struct Stream {
  int threads;
  bool allows_bfloat16 = false;  // float32 products may round their factors to bfloat16
};

// As the settings of the process say.
Stream current_stream();

// Only where the CPU has the instructions: kernels do not ask again.
void set_allows_bfloat16(bool allows);

}  // namespace minidl
