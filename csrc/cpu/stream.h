// Where a CPU kernel runs: on how many threads.
#pragma once

namespace minidl {

struct Stream {
  int threads;
};

}  // namespace minidl
