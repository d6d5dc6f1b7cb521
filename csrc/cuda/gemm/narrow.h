// Which products are those of a network's last layer: so few columns, or so few steps, that a tile would be mostly
// empty. The limits are reasoned, not measured.
#pragma once
#include <stdint.h>

namespace minidl {

constexpr int most_narrow = 16;  // columns, or steps
// With fewer steps half of a warp's lanes would have none; with more, one warp takes longer than many blocks that share
// them.
constexpr int64_t least_narrow_depth = 64, most_narrow_depth = 1024;
// A thread reads all steps of what it writes by itself: for large results, tiles that share them are better.
constexpr int64_t most_shallow_results = int64_t(1) << 22;

// Rows times the rows of b (n x k), a warp for each row of a.
constexpr bool is_narrow(int64_t m, int64_t n, int64_t k) {
  return m > 1 && n > 1 && n <= most_narrow && k >= least_narrow_depth && k <= most_narrow_depth;
}
// Rows times b (k x n), a thread for a vector of out.
constexpr bool is_shallow(int64_t m, int64_t n, int64_t k) {
  return m > 1 && n > 1 && k > 0 && k <= most_narrow && n <= most_shallow_results / m;
}

}  // namespace minidl
