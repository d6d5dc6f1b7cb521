// The instructions for bfloat16 that this CPU and its system offer, by name.
#pragma once
#include <string>
#include <vector>

#include "stream.h"

namespace minidl {

const char* name_of(Bfloat16 instructions);

// Fastest first. A process has to ask the system for AMX's tiles: this asks.
std::vector<std::string> available_bfloat16();

// "none" where float32 is as fast.
std::string fastest_bfloat16();

// Lets float32 products use them; throws invalid_argument where they are not available.
void choose_bfloat16(const std::string& name);

}  // namespace minidl
