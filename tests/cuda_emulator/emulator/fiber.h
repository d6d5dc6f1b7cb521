// A stack to run a function on, step by step: one for each CUDA thread of a block.
#pragma once
#include <stddef.h>

#include <memory>

namespace emulator {

class Fiber {
 public:
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // Makes the next resume() begin body(argument). What an earlier body left unfinished is dropped.
  void start(void (*body)(void*), void* argument);
  // Runs the body until it suspends or returns.
  void resume();
  // Called in the body: goes back to where resume() was called.
  void suspend();
  bool is_finished() const { return is_finished_; }

 private:
  static void enter(Fiber* fiber);
  void leave(bool for_good);
  void take_stack();

  char* stack_ = nullptr;
  void* stack_pointer_ = nullptr;  // of the body while it is suspended
  void* return_pointer_ = nullptr;
  void (*body_)(void*) = nullptr;
  void* argument_ = nullptr;
  bool is_finished_ = true;

  // What the sanitizers keep of both stacks.
  void* fake_stack_ = nullptr;
  void* return_fake_stack_ = nullptr;
  const void* return_bottom_ = nullptr;
  size_t return_bytes_ = 0;
  void* race_fiber_ = nullptr;
  void* return_race_fiber_ = nullptr;
};

}  // namespace emulator
