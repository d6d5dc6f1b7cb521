// Whole numbers: ranges of rows, columns and steps, and their shares.
#pragma once
#include <stdint.h>

namespace MINIDL_TARGET {
namespace {

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// One of `parts` shares of [0, count); they differ by one at most.
inline Range share(int64_t count, int64_t part, int64_t parts) {
  return {count * part / parts, count * (part + 1) / parts};
}
inline Range share(Range range, int64_t part, int64_t parts) {
  Range inner = share(range.size(), part, parts);
  return {range.begin + inner.begin, range.begin + inner.end};
}

}  // namespace
}  // namespace MINIDL_TARGET
