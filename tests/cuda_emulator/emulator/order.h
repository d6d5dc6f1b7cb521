// In which order blocks, warps and lanes run. No kernel may depend on it, so tests run them in several:
// CUDA_EMULATOR_ORDER = forward (the default), reverse, random or random:SEED.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace emulator {

class Order {
 public:
  // As the environment says now.
  Order() {
    const char* name = std::getenv("CUDA_EMULATOR_ORDER");
    if (!name || !*name || !std::strcmp(name, "forward")) return;
    is_reverse_ = !std::strcmp(name, "reverse");
    is_random_ = !std::strncmp(name, "random", 6) && (name[6] == '\0' || name[6] == ':');
    if (!is_reverse_ && !is_random_)
      throw std::invalid_argument(std::string("CUDA_EMULATOR_ORDER is forward, reverse, random or random:SEED, got ") +
                                  name);
    if (is_random_ && name[6] == ':') random_.seed(std::strtoul(name + 7, nullptr, 10));
  }

  // visit(i) for 0 <= i < count, until it returns false.
  template <typename Visit>
  void for_each(unsigned count, const Visit& visit) {
    if (!is_random_) {
      for (unsigned i = 0; i < count; ++i)
        if (!visit(is_reverse_ ? count - 1 - i : i)) return;
      return;
    }
    std::vector<unsigned> order(count);
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random_);
    for (unsigned i : order)
      if (!visit(i)) return;
  }

 private:
  bool is_reverse_ = false, is_random_ = false;
  std::minstd_rand random_{1};
};

}  // namespace emulator
