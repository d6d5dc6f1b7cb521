// The instructions for bfloat16 that this CPU and its system offer, by name.
#pragma once
#include <string>
#include <vector>

#include "stream.h"

namespace minidl {

const char* name_of(Bfloat16 instructions);

// Fastest first. A process has to ask the system for AMX's tiles: this asks.
std::vector<std::string> available_bfloat16();

// For factors in so many pieces; "none" where float32 is as fast.
std::string fastest_bfloat16(int pieces);

// Lets float32 products use them, with their factors in so many pieces; throws invalid_argument where they are not
// available or do not take as many.
void choose_bfloat16(const std::string& name, int pieces);

}  // namespace minidl
