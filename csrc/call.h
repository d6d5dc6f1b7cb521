// One recorded kernel call: what a plan keeps of it and runs again.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "array.h"
#include "stream.h"

namespace minidl {

struct Extent {
  uintptr_t begin, end;
  bool overlaps(const Extent& other) const { return begin < other.end && other.begin < end; }
};

// The addresses from an array's first to its last element, whatever its strides.
Extent extent_of(const Array& array);

// A call with its arguments, all but the stream.
struct Call {
  const char* name = "";
  // Shape and bytes an element of each of its arrays, for the profile.
  struct Operand {
    std::vector<int64_t> shape;
    int64_t itemsize;
  };
  std::vector<Operand> operands;
  std::vector<Extent> reads, writes;
  double seconds = 0;  // of the last profiled replay

  virtual ~Call() = default;
  virtual void run(Stream stream) const = 0;
  // The calls whose work this one does: itself, or those that it was joined from.
  virtual std::vector<const Call*> parts() const { return {this}; }
};

using Calls = std::vector<std::unique_ptr<Call>>;

}  // namespace minidl
