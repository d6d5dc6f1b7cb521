// Joining the calls of a plan: one kernel in the place of several where it does the work of all of them.
#pragma once
#include "call.h"

namespace minidl {

// The same calls, where they can be joined as one that owns them; what they write is the same, bit by bit.
Calls joined(Calls calls);

}  // namespace minidl
