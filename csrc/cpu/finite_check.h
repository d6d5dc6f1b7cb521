// A check that numbers are finite, replayed with the step that it is part of.
#pragma once
#include <string>

#include "array.h"

namespace minidl {

// Throws NotFiniteError unless every element is finite, now and in every replay. For the few numbers that decide
// whether a step may go on.
void require_finite(const Array& x, const std::string& name);

}  // namespace minidl
