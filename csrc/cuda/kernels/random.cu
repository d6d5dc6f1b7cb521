// Random fills from a ticket {seed, call}: the CPU's numbers, bit for bit.
// Compiled with --fmad=false, because a fused multiply-add would round differently.
#include <math.h>

#include "box_muller.cuh"
#include "elementwise.cuh"
#include "kernels.h"

namespace MINIDL_TARGET {

namespace {

__global__ void take_ticket_kernel(int64_t* generator, int64_t* ticket) {
  follow_earlier_kernels();
  ticket[0] = generator[0];
  ticket[1] = generator[1]++;
}

template <typename T>
void take_ticket(Stream stream, int64_t* generator, int64_t* ticket) {
  launch(stream, 1, 1, take_ticket_kernel, generator, ticket);
}

// A thread takes width neighbouring Philox blocks and writes packs that lie 16 elements apart.
template <int width, typename Draw, typename Value>
__global__ void __launch_bounds__(map_threads) draw_kernel(const int64_t* ticket, Value* out, int64_t size, Draw draw) {
  follow_earlier_kernels();
  constexpr int packs = Draw::per_block;
  const int64_t block = (blockIdx.x * (int64_t)map_threads + threadIdx.x) * width;
  const int64_t first = first_element<packs>(block);
  if (first >= size) return;
  Pack<Value, width> drawn[packs];
#pragma unroll
  for (int j = 0; j < width; ++j) {
    Value values[packs];
    draw(philox(ticket, block + j), values);
#pragma unroll
    for (int k = 0; k < packs; ++k) drawn[k].at[j] = values[k];
  }
#pragma unroll
  for (int k = 0; k < packs; ++k) {
    const int64_t i = first + k * group_blocks;
    store_pack(out + i, drawn[k], size - i);
  }
}

// out = the values that draw makes of each Philox block.
template <typename Draw, typename Value>
void fill_with(Stream stream, const int64_t* ticket, Value* out, int64_t size, Draw draw) {
  const int64_t blocks = blocks_for(size, Draw::per_block);
  constexpr int width = pack_width<Value>;
  if (is_aligned(pack_bytes, out))
    launch(stream, divide_up(blocks / width, map_threads), map_threads, draw_kernel<width, Draw, Value>, ticket, out,
           size, draw);
  else
    launch(stream, divide_up(blocks, map_threads), map_threads, draw_kernel<1, Draw, Value>, ticket, out, size, draw);
}

struct Bits {
  static constexpr int per_block = 4;
  __device__ void operator()(PhiloxBlock random, int64_t (&values)[4]) const {
    for (int k = 0; k < 4; ++k) values[k] = random.words[k];
  }
};

template <typename T>
void random_bits(Stream stream, const int64_t* ticket, int64_t* out, int64_t size) {
  fill_with(stream, ticket, out, size, Bits{});
}

// float draws 32 bits an element, double 64.
template <typename T>
struct Uniform {
  static constexpr int per_block = 16 / sizeof(T);
  T first, range, limit, below_limit;

  __device__ void operator()(PhiloxBlock random, T (&values)[per_block]) const {
    for (int k = 0; k < per_block; ++k) {
      const T value = first + range * unit_interval(random, k);
      values[k] = value < limit ? value : below_limit;
    }
  }
  __device__ static T unit_interval(PhiloxBlock random, int k) {
    if constexpr (sizeof(T) == sizeof(float))
      return (float)(random.words[k] >> 8) * 0x1p-24f;
    else
      return (double)(word_pair(random, k) >> 11) * 0x1p-53;
  }
};

template <typename T>
void uniform(Stream stream, const int64_t* ticket, T* out, int64_t size, double low, double high) {
  const T first = (T)low, limit = (T)high;
  T below_limit = first;
  if (first < limit)
    below_limit = sizeof(T) == sizeof(float) ? (T)nextafterf(limit, first) : (T)nextafter(limit, first);
  fill_with(stream, ticket, out, size, Uniform<T>{first, limit - first, limit, below_limit});
}

template <typename T>
struct Normal {
  static constexpr int per_block = 16 / sizeof(T);
  T mean, std;

  __device__ void operator()(PhiloxBlock random, T (&values)[per_block]) const {
    for (int k = 0; k < per_block; k += 2) {
      Wave<T> pair;
      if constexpr (sizeof(T) == sizeof(float))
        pair = box_muller<T>(random.words[k], random.words[k + 1]);
      else
        pair = box_muller<T>(word_pair(random, 0), word_pair(random, 1));
      values[k] = mean + std * pair.cos;
      values[k + 1] = mean + std * pair.sin;
    }
  }
};

template <typename T>
void normal(Stream stream, const int64_t* ticket, T* out, int64_t size, double mean, double std) {
  fill_with(stream, ticket, out, size, Normal<T>{(T)mean, (T)std});
}

template <typename T>
struct Bernoulli {
  static constexpr int per_block = 4;
  int64_t successes;  // of the 2^32 values of a word

  __device__ void operator()(PhiloxBlock random, T (&values)[4]) const {
    for (int k = 0; k < 4; ++k) values[k] = random.words[k] < successes ? T(1) : T(0);
  }
};

template <typename T>
void bernoulli(Stream stream, const int64_t* ticket, T* out, int64_t size, double p) {
  fill_with(stream, ticket, out, size, Bernoulli<T>{(int64_t)(p * 0x1p32 + 0.5)});
}

// The upper half of the 128-bit product of 64 random bits with the range: a value is likelier than another by at most
// one part in 2^64 / range.
struct WholeNumbers {
  static constexpr int per_block = 2;
  uint64_t low, range;

  __device__ void operator()(PhiloxBlock random, int64_t (&values)[2]) const {
    for (int k = 0; k < 2; ++k) {
      auto product = (unsigned __int128)word_pair(random, k) * range;
      values[k] = (int64_t)(low + (uint64_t)(product >> 64));
    }
  }
};

template <typename T>
void randint(Stream stream, const int64_t* ticket, int64_t* out, int64_t size, int64_t low, int64_t high) {
  fill_with(stream, ticket, out, size, WholeNumbers{(uint64_t)low, (uint64_t)high - (uint64_t)low});
}

// ---- permutation

// A Feistel network on pairs (left < columns, right < rows): each round adds a keyed hash of one half to the other.
struct Feistel {
  static constexpr int rounds = 24;
  uint32_t columns, rows;

  // Even columns, so that a round can be an odd permutation, and two rows at least, else there are only rotations.
  explicit Feistel(int64_t size) : columns((uint32_t)::sqrt((double)size)) {
    columns += 2 - columns % 2;
    rows = (uint32_t)(((uint64_t)size + columns - 1) / columns);
    if (rows < 2) rows = 2;
  }

  // (a + b) mod modulus
  __device__ static uint32_t add(uint32_t a, uint32_t b, uint32_t modulus) {
    const uint32_t sum = a + b;
    return sum >= modulus ? sum - modulus : sum;
  }
  // The finalizer of MurmurHash3 (Appleby 2008), scaled to [0, modulus).
  __device__ static uint32_t hash(uint32_t x, uint32_t modulus) {
    x = (x ^ (x >> 16)) * 0x85ebca6bu;
    x = (x ^ (x >> 13)) * 0xc2b2ae35u;
    return (uint32_t)((uint64_t)(x ^ (x >> 16)) * modulus >> 32);
  }
  __device__ uint64_t permute(uint64_t place, const uint32_t* keys) const {
    uint32_t left = (uint32_t)(place % columns), right = (uint32_t)(place / columns);
    for (int round = 0; round < rounds; round += 2) {
      left = add(left, hash(right + keys[round], columns), columns);
      right = add(right, hash(left + keys[round + 1], rows), rows);
    }
    return (uint64_t)right * columns + left;
  }
};

// out[i] = the place that i goes to; places beyond size walk their cycle back into 0 .. size - 1.
__global__ void __launch_bounds__(map_threads)
    permutation_kernel(const int64_t* ticket, int64_t* out, int64_t size, const Feistel feistel) {
  follow_earlier_kernels();
  SHARED(uint32_t, keys, [2 * group_blocks]);
  if (threadIdx.x < group_blocks) {
    const PhiloxBlock random = philox(ticket, threadIdx.x);
    keys[threadIdx.x] = random.words[0];
    keys[group_blocks + threadIdx.x] = random.words[1];
  }
  __syncthreads();
  const int64_t i = blockIdx.x * (int64_t)map_threads + threadIdx.x;
  if (i >= size) return;
  uint64_t place = i;
  do place = feistel.permute(place, keys);
  while (place >= (uint64_t)size);
  out[i] = (int64_t)place;
}

template <typename T>
void permutation(Stream stream, const int64_t* ticket, int64_t* out, int64_t size) {
  launch(stream, divide_up(size, map_threads), map_threads, permutation_kernel, ticket, out, size, Feistel(size));
}

}  // namespace
EXPORT(take_ticket)
EXPORT(random_bits)
EXPORT(uniform)
EXPORT(normal)
EXPORT(bernoulli)
EXPORT(randint)
EXPORT(permutation)

}  // namespace MINIDL_TARGET
