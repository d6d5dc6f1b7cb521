// Recording and replay of kernel calls, and the check that nothing else had a hand in what they read.
#include "plan.h"

#include <string>

#include "invoke.h"
#include "python_array.h"

namespace py = pybind11;
using namespace pybind11::literals;

namespace minidl {
namespace {

thread_local Plan* under_way = nullptr;

}  // namespace

Extent extent_of(const Array& array) {
  auto begin = (uintptr_t)array.data, end = begin + array.itemsize;
  if (array.size() == 0) return {begin, begin};
  for (int axis = 0; axis < array.dims; ++axis) {
    int64_t reach = (array.shape[axis] - 1) * array.strides_bytes[axis];
    (reach < 0 ? begin : end) += reach;
  }
  return {begin, end};
}

void AddressSet::erase(uintptr_t begin, uintptr_t end) {
  auto range = end_of_.lower_bound(begin);
  if (range != end_of_.begin() && std::prev(range)->second > begin) --range;
  while (range != end_of_.end() && range->first < end) {
    auto [first, last] = *range;
    range = end_of_.erase(range);
    if (first < begin) end_of_[first] = begin;
    if (last > end) range = end_of_.emplace(end, last).first;
  }
}

void AddressSet::insert(uintptr_t begin, uintptr_t end) {
  if (begin == end) return;
  erase(begin, end);
  auto next = end_of_.find(end);  // neighbours become one range, so that contains() looks at one only
  if (next != end_of_.end()) {
    end = next->second;
    end_of_.erase(next);
  }
  auto after = end_of_.lower_bound(begin);
  if (after != end_of_.begin() && std::prev(after)->second == begin)
    std::prev(after)->second = end;
  else
    end_of_[begin] = end;
}

bool AddressSet::contains(uintptr_t begin, uintptr_t end) const {
  if (begin == end) return true;
  auto after = end_of_.upper_bound(begin);
  return after != end_of_.begin() && std::prev(after)->second >= end;
}

Plan* plan_under_way() { return under_way; }

void Plan::begin_trace() {
  if (under_way) throw std::runtime_error("capture: another step is being captured in this thread");
  phase_ = Phase::trace;
  under_way = this;
}

void Plan::begin_recording(const py::list& inputs) {
  if (under_way) throw std::runtime_error("capture: another step is being captured in this thread");
  for (py::handle input : inputs) {
    Extent extent = extent_of(array_from_python(input));
    inputs_.push_back({extent.begin, extent.end, false});
    written_.insert(extent.begin, extent.end);
  }
  arena_ = begin_arena();
  phase_ = Phase::record;
  under_way = this;
}

void Plan::end() {
  if (phase_ == Phase::record) {
    end_arena();
    traced_.clear();
    calls_ = joined(std::move(calls_));
  }
  if (under_way == this) under_way = nullptr;
  phase_ = Phase::idle;
}

// Memory handed out during the recording holds nothing yet, whatever lay there before.
void Plan::take_in_new_memory() {
  if (!arena_) return;
  for (auto [data, bytes] : arena_->handed_out) {
    written_.erase((uintptr_t)data, (uintptr_t)data + bytes);
    in_arena_.insert((uintptr_t)data, (uintptr_t)data + bytes);
  }
  arena_->handed_out.clear();
}

void Plan::hold(const Array& array) {
  Extent extent = extent_of(array);
  auto object = py::reinterpret_borrow<py::object>((PyObject*)array.owner);
  if (phase_ == Phase::trace)
    traced_.emplace(array.data, std::move(object));
  else if (!in_arena_.contains(extent.begin, extent.end))
    held_.emplace(array.data, std::move(object));
}

bool Plan::determines(const Array& array) {
  take_in_new_memory();
  Extent extent = extent_of(array);
  return written_.contains(extent.begin, extent.end) || lasting_.contains(extent.begin, extent.end);
}

void Plan::fail(const std::string& reason) {
  if (is_strict_) throw std::runtime_error(reason);
  if (failure_.empty()) failure_ = reason;
}

void Plan::require_determined(const Array& array) {
  if (!determines(array))
    fail("capture: the step returns a tensor of shape " + array.shape_text() +
         " that no kernel wrote; what NumPy computes is not replayed");
}

void Plan::note_read(const Array& array) {
  is_used_ = true;
  if (!array.is_given) return;
  if (phase_ == Phase::trace) {
    Extent extent = extent_of(array);
    lasting_.insert(extent.begin, extent.end);
    hold(array);
  } else if (!determines(array)) {
    fail(std::string("capture: ") + array.kernel + "() reads " + array.name() + " of shape " + array.shape_text() +
         ", which no kernel of the step wrote and which was not there before: NumPy made it, or it is new in every "
         "call, like the gradients of a backward() outside of the step; pass it as an argument");
  } else {
    hold(array);
  }
}

void Plan::note_write(const Array& array) {
  is_used_ = true;
  if (!array.is_given) return;
  Extent extent = extent_of(array);
  take_in_new_memory();
  (phase_ == Phase::trace ? lasting_ : written_).insert(extent.begin, extent.end);
  for (Range& input : inputs_)
    if (extent.begin < input.end && input.begin < extent.end) input.is_written = true;
  hold(array);
}

void Plan::note_address(const void** where) {
  auto address = (uintptr_t)*where;
  for (size_t input = 0; input < inputs_.size(); ++input)
    if (address >= inputs_[input].begin && address < inputs_[input].end) {
      moved_.push_back({where, input, (ptrdiff_t)(address - inputs_[input].begin)});
      return;
    }
}

// Where the inputs are. Shapes and layouts are the caller's business: it asks for the plan of the inputs' signature.
std::vector<ReplayInput> Plan::places_of(const py::list& inputs, bool are_stacked) const {
  if (under_way) throw std::runtime_error("capture: a replay cannot be part of another captured step");
  if (is_replaying_)
    throw std::runtime_error("capture: another thread is replaying this step; capture it once for each thread");
  if (inputs.size() != inputs_.size())
    throw std::invalid_argument("replay(): the plan takes " + std::to_string(inputs_.size()) + " inputs, got " +
                                std::to_string(inputs.size()));
  std::vector<ReplayInput> places;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    Array array = array_from_python(inputs[i]);
    ptrdiff_t stride = 0;
    if (are_stacked) {
      stride = array.strides_bytes[0];
      ++array.shape, ++array.strides_bytes, --array.dims;
    }
    places.push_back({extent_of(array).begin, inputs_[i].end - inputs_[i].begin, stride, inputs_[i].is_written});
  }
  return places;
}

void Plan::bind(const std::vector<uintptr_t>& begins) {
  for (const Moved& moved : moved_) *moved.where = (const void*)(begins[moved.input] + moved.offset);
}

// Without the interpreter lock, and so that no other thread binds or writes the same memory meanwhile.
template <typename Body>
void Plan::run_alone(const Body& body) {
  struct Replaying {
    bool& flag;
    explicit Replaying(bool& is_replaying) : flag(is_replaying) { flag = true; }
    ~Replaying() { flag = false; }
  } replaying(is_replaying_);
  py::gil_scoped_release unlocked;
  body();
}

void Plan::run(const std::vector<ReplayInput>& inputs, int64_t steps) {
  Stream stream = current_stream();
  run_alone([&] {
    replayer_.run(stream, calls_, inputs, steps, [this](const std::vector<uintptr_t>& begins) { bind(begins); });
  });
}

void Plan::replay(const py::list& inputs) { run(places_of(inputs, false), 1); }

void Plan::replay_each(const py::list& inputs, int64_t steps) {
  for (py::handle input : inputs) {
    Array array = array_from_python(input);
    if (array.dims == 0 || array.shape[0] != steps)
      throw std::invalid_argument("replay_each(): the first axis of each input must have " + std::to_string(steps) +
                                  " elements, got shape " + array.shape_text());
  }
  run(places_of(inputs, true), steps);
}

// What must be equal for a recorded step to take other inputs: shapes, strides, number types, and where they overlap.
static py::bytes signature(const py::list& arrays) {
  std::vector<int64_t> numbers;
  std::vector<Extent> extents;
  for (py::handle object : arrays) {
    Array array = array_from_python(object);
    numbers.push_back((int64_t)array.dtype << 32 | array.itemsize << 8 | array.dims);
    numbers.insert(numbers.end(), array.shape, array.shape + array.dims);
    numbers.insert(numbers.end(), array.strides_bytes, array.strides_bytes + array.dims);
    Extent extent = extent_of(array);
    for (size_t other = 0; other < extents.size(); ++other)
      if (extent.begin < extents[other].end && extents[other].begin < extent.end) {
        numbers.push_back(-1 - (int64_t)other);
        numbers.push_back((int64_t)(extent.begin - extents[other].begin));
      }
    extents.push_back(extent);
  }
  return py::bytes((const char*)numbers.data(), numbers.size() * sizeof(int64_t));
}

// [(call, ((kernel, ((shape, itemsize) of each array)) of each kernel whose work it does), seconds)]: the mean of some
// replays, each call timed by itself.
py::list Plan::profile(const py::list& inputs, int repeats) {
  Stream stream = current_stream();
  std::vector<uintptr_t> begins;
  for (const ReplayInput& input : places_of(inputs, false)) begins.push_back(input.begin);
  bind(begins);
  for (const auto& call : calls_) call->seconds = 0;
  run_alone([&] {
    Stopwatch stopwatch;
    for (int repeat = 0; repeat < repeats; ++repeat)
      for (const auto& call : calls_) {
        stopwatch.start(stream);
        call->run(stream);
        call->seconds += stopwatch.seconds(stream) / repeats;
      }
  });
  py::list rows;
  for (const auto& call : calls_) {
    py::list parts;
    for (const Call* part : call->parts()) {
      py::list operands;
      for (const auto& operand : part->operands)
        operands.append(py::make_tuple(py::tuple(py::cast(operand.shape)), operand.itemsize));
      parts.append(py::make_tuple(part->name, py::tuple(operands)));
    }
    rows.append(py::make_tuple(call->name, py::tuple(parts), call->seconds));
  }
  return rows;
}

void bind_plan(py::module_& m) {
  // Local to the module: the module of another back end has a class of the same name.
  py::class_<Plan>(m, "Plan", py::module_local(), "The kernel calls of one step: traced, recorded, replayed.")
      .def(py::init<bool>(), "is_strict"_a = true)
      .def_property_readonly("failure", &Plan::failure, "Why the step could not be recorded; empty if it could.")
      .def_property_readonly("is_used", &Plan::is_used, "Whether a kernel call was seen.")
      .def("fail", &Plan::fail, "Says that the step cannot be recorded, and why.", "reason"_a)
      .def("begin_trace", &Plan::begin_trace, "Until end(), notes which memory kernel calls use.")
      .def("begin_recording", &Plan::begin_recording, "Until end(), records kernel calls.", "inputs"_a)
      .def("end", &Plan::end, "Ends tracing or recording.")
      .def("replay", &Plan::replay, "Runs the recorded calls with other inputs of the same shapes and layouts.",
           "inputs"_a)
      .def("replay_each", &Plan::replay_each,
           "Runs the recorded calls as many times, each with the next element along the first axis of the inputs.",
           "inputs"_a, "steps"_a)
      .def("profile", &Plan::profile,
           "Replays and returns (call, ((kernel, ((shape, itemsize) of each array)) of each part), seconds) of all.",
           "inputs"_a, "repeats"_a)
      .def(
          "require_determined", [](Plan& plan, Array array) { plan.require_determined(array); },
          "Fails unless the recorded calls determine the array's content.", "array"_a)
      .def_property_readonly("longest_chain", &Plan::longest_chain,
                             "How many of the calls a replay runs one after the other, at least.")
      .def("__len__", &Plan::size);
  m.def("signature", &signature, "Shapes, strides, number types and overlaps of some arrays, as one hashable value.",
        "arrays"_a);
}

}  // namespace minidl
