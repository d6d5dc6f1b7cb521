// Switching stacks, with word to the sanitizers.
#include "fiber.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "sanitizers.h"

namespace emulator {
namespace {

// A kernel's frame under the sanitizers is far larger than on a GPU; pages that nobody touches cost nothing.
constexpr size_t stack_bytes = 256 << 10;

}  // namespace
}  // namespace emulator

// emulator_switch(&from, to): pushes what a call must preserve, leaves the stack pointer in from, continues at to.
#if defined(__x86_64__)
extern "C" void emulator_switch(void** from, void* to);
asm(R"(
.text
.local emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, .-emulator_switch
.local emulator_begin
.type emulator_begin, @function
emulator_begin:
  movq %r12, %rdi
  callq *%r13
  ud2
.size emulator_begin, .-emulator_begin
)");
extern "C" void emulator_begin();

namespace {

// A stack that emulator_switch continues at the beginning of entry(argument).
void* first_frame(char* stack_end, void (*entry)(emulator::Fiber*), void* argument) {
  auto** frame = reinterpret_cast<void**>(stack_end) - 9;
  frame[0] = frame[1] = nullptr;              // r15, r14
  frame[2] = reinterpret_cast<void*>(entry);  // r13
  frame[3] = argument;                        // r12
  frame[4] = frame[5] = nullptr;              // rbx, rbp
  frame[6] = reinterpret_cast<void*>(emulator_begin);
  frame[7] = frame[8] = nullptr;  // so that the stack is 16-byte aligned where emulator_begin calls
  return frame;
}

}  // namespace
#else
#include <ucontext.h>

// Elsewhere the C library switches, which asks the kernel each time: slow, but it runs.
static void emulator_switch(void** from, void* to) {
  ucontext_t here;
  *from = &here;
  swapcontext(&here, static_cast<ucontext_t*>(to));
}

namespace {

void emulator_begin(unsigned entry_low, unsigned entry_high, unsigned argument_low, unsigned argument_high) {
  auto joined = [](unsigned low, unsigned high) { return (uintptr_t)high << 32 | low; };
  auto entry = reinterpret_cast<void (*)(emulator::Fiber*)>(joined(entry_low, entry_high));
  entry(reinterpret_cast<emulator::Fiber*>(joined(argument_low, argument_high)));
}

void* first_frame(char* stack_end, void (*entry)(emulator::Fiber*), void* argument) {
  auto* context = reinterpret_cast<ucontext_t*>(stack_end) - 1;
  getcontext(context);
  context->uc_stack.ss_size = stack_bytes / 2;
  context->uc_stack.ss_sp = reinterpret_cast<char*>(context) - context->uc_stack.ss_size;
  auto low = [](void* pointer) { return (unsigned)(uintptr_t)pointer; };
  auto high = [](void* pointer) { return (unsigned)((uintptr_t)pointer >> 32); };
  auto* entry_pointer = reinterpret_cast<void*>(entry);  // makecontext passes numbers of 32 bits
  makecontext(context, reinterpret_cast<void (*)()>(emulator_begin), 4, low(entry_pointer), high(entry_pointer),
              low(argument), high(argument));
  return context;
}

}  // namespace
#endif

namespace emulator {

// One page below the stack cannot be touched: a kernel that needs more ends there instead of in its neighbour's stack.
void Fiber::take_stack() {
  size_t page = sysconf(_SC_PAGESIZE);
  void* memory = mmap(nullptr, page + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page, PROT_NONE);
  stack_ = static_cast<char*>(memory) + page;
}

Fiber::~Fiber() {
  if (race_fiber_) __tsan_destroy_fiber(race_fiber_);
  size_t page = sysconf(_SC_PAGESIZE);
  if (stack_) munmap(stack_ - page, page + stack_bytes);
}

void Fiber::start(void (*body)(void*), void* argument) {
  if (!stack_) take_stack();
  if (!is_finished_) allow(stack_, stack_bytes);  // frames that never returned
  if (has_race_check() && !race_fiber_) race_fiber_ = __tsan_create_fiber(0);
  body_ = body;
  argument_ = argument;
  fake_stack_ = nullptr;
  is_finished_ = false;
  stack_pointer_ = first_frame(stack_ + stack_bytes, enter, this);
}

void Fiber::enter(Fiber* fiber) {
  if (__sanitizer_finish_switch_fiber)
    __sanitizer_finish_switch_fiber(nullptr, &fiber->return_bottom_, &fiber->return_bytes_);
  fiber->body_(fiber->argument_);
  fiber->is_finished_ = true;
  fiber->leave(true);
}

void Fiber::resume() {
  if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&return_fake_stack_, stack_, stack_bytes);
  if (has_race_check()) {
    return_race_fiber_ = __tsan_get_current_fiber();
    constexpr unsigned without_ordering = 1;
    __tsan_switch_to_fiber(race_fiber_, without_ordering);
  }
  emulator_switch(&return_pointer_, stack_pointer_);
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(return_fake_stack_, nullptr, nullptr);
}

void Fiber::leave(bool for_good) {
  if (__sanitizer_start_switch_fiber)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, return_bottom_, return_bytes_);
  if (has_race_check()) __tsan_switch_to_fiber(return_race_fiber_, 1);
  emulator_switch(&stack_pointer_, return_pointer_);
  if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(fake_stack_, &return_bottom_, &return_bytes_);
}

void Fiber::suspend() { leave(false); }

}  // namespace emulator
