// Dropout: 16 random bits per element, drawn again from the ticket in backward.
#include <string.h>

#include "kernels.h"
#include "parallel.h"
#include "philox.h"

namespace MINIDL_TARGET {

namespace {

constexpr int per_group = 2 * group_words;

// How many of the 65536 values of 16 bits keep an element; only p = 1 drops every one.
int kept_values(double p) {
  int kept = (int)((1 - p) * 65536 + 0.5);
  return p < 1 && kept == 0 ? 1 : kept;
}

// 128 elements: the low halves of 16 words serve 16 elements, the high halves the next 16.
template <typename T>
SIMD_INLINE void drop_group(const uint32_t* words, const T* x, T* out, int kept, T scale) {
  for (int w = 0; w < group_words; w += group_blocks) {
    const T* from = x + 2 * w;
    T* to = out + 2 * w;
    for (int b = 0; b < group_blocks; ++b) to[b] = from[b] * ((int)(words[w + b] & 0xffff) < kept ? scale : T(0));
    from += group_blocks;
    to += group_blocks;
    for (int b = 0; b < group_blocks; ++b) to[b] = from[b] * ((int)(words[w + b] >> 16) < kept ? scale : T(0));
  }
}

template <typename T>
void dropout_forward(Stream stream, const T* x, const int64_t* ticket, T* out, int64_t size, double p) {
  int kept = kept_values(p);
  T scale = kept > 0 ? T(65536.0 / kept) : T(0);
  parallel_for(
      stream, size, 16384,
      [=](int64_t begin, int64_t end) {
        alignas(64) uint32_t words[group_words];
        for (int64_t i = begin; i < end; i += per_group) {
          philox_group(ticket, i / per_group, words);
          if (i + per_group <= end) {
            drop_group(words, x + i, out + i, kept, scale);
            continue;
          }
          T edge[per_group] = {};
          memcpy(edge, x + i, (end - i) * sizeof(T));
          drop_group(words, edge, edge, kept, scale);
          memcpy(out + i, edge, (end - i) * sizeof(T));
        }
      },
      per_group);
}

}  // namespace
EXPORT(dropout_forward)

}  // namespace MINIDL_TARGET
