// Plan: the kernel calls of one step, recorded as they run and replayed without Python.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "array.h"
#include "call.h"
#include "memory_pool.h"
#include "replayer.h"
#include "stream.h"

namespace minidl {

// A set of addresses, kept as disjoint ranges.
class AddressSet {
 public:
  void insert(uintptr_t begin, uintptr_t end);
  void erase(uintptr_t begin, uintptr_t end);
  bool contains(uintptr_t begin, uintptr_t end) const;

 private:
  std::map<uintptr_t, uintptr_t> end_of_;
};

class Plan {
 public:
  // A step that cannot be recorded: a strict plan throws at the place, another one runs on and keeps the reason.
  explicit Plan(bool is_strict) : is_strict_(is_strict) {}
  const std::string& failure() const { return failure_; }

  // First pass: runs, and remembers which memory is there from step to step. Second pass: runs and records; the inputs
  // are the arrays that a replay exchanges for others.
  void begin_trace();
  void begin_recording(const pybind11::list& inputs);
  void end();

  void replay(const pybind11::list& inputs);
  // The step as many times, one after the other; the first axis of every input counts the steps.
  void replay_each(const pybind11::list& inputs, int64_t steps);
  pybind11::list profile(const pybind11::list& inputs, int repeats);
  size_t size() const { return calls_.size(); }
  // How many of the calls a replay runs one after the other, at least.
  size_t longest_chain() const { return replayer_.longest_chain(calls_); }

  // While a step runs, for every kernel call and each of its arrays.
  bool is_recording() const { return phase_ == Phase::record; }
  bool is_used() const { return is_used_; }
  void fail(const std::string& reason);
  void note_read(const Array& array);
  void note_write(const Array& array);
  void append(std::unique_ptr<Call> call) { calls_.push_back(std::move(call)); }
  // A pointer among a call's arguments; where it points into an input, a replay moves it.
  void note_address(const void** where);
  // To be asked for what the step returns: do the recorded calls determine what the array holds?
  void require_determined(const Array& array);

 private:
  enum class Phase { idle, trace, record };
  struct Range {
    uintptr_t begin, end;
    bool is_written;
  };
  struct Moved {
    const void** where;
    size_t input;
    ptrdiff_t offset;
  };

  bool determines(const Array& array);
  void take_in_new_memory();
  void hold(const Array& array);
  std::vector<ReplayInput> places_of(const pybind11::list& inputs, bool are_stacked) const;
  void bind(const std::vector<uintptr_t>& begins);
  void run(const std::vector<ReplayInput>& inputs, int64_t steps);
  template <typename Body>
  void run_alone(const Body& body);

  const bool is_strict_;
  bool is_used_ = false;  // some kernel was seen
  std::string failure_;
  Phase phase_ = Phase::idle;
  bool is_replaying_ = false;  // the interpreter lock guards it
  Calls calls_;
  Replayer replayer_;
  std::vector<Range> inputs_;
  std::vector<Moved> moved_;
  // Arrays by their address: those of the first pass, so that no address is used twice, then those that the calls need.
  std::map<void*, pybind11::object> traced_, held_;
  AddressSet lasting_, written_, in_arena_;
  std::shared_ptr<Arena> arena_;
};

// The plan that this thread records or traces, or null.
Plan* plan_under_way();

// Defines the class Plan and the function signature.
void bind_plan(pybind11::module_& m);

}  // namespace minidl
