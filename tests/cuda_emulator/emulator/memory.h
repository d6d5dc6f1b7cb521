// Atomics, fences and loads with hints.
#pragma once
#include <type_traits>

#include "thread.h"

// For the race check: an atomic hands over what came before it, and takes what others handed over, where its thread has
// called __threadfence. That is more than CUDA promises where the fence came first and the writes later.
namespace emulator {

template <typename T, typename Combine>
T exchange(T* where, const Combine& combine) {
  T old, wanted;
  __atomic_load(where, &old, __ATOMIC_RELAXED);
  do {
    wanted = combine(old);
    if (has_fenced()) {
      if (__atomic_compare_exchange(where, &old, &wanted, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return old;
    } else {
      if (__atomic_compare_exchange(where, &old, &wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
    }
  } while (true);
}

}  // namespace emulator

template <typename T>
T atomicAdd(T* where, std::type_identity_t<T> value) {
  return emulator::exchange(where, [=](T old) { return T(old + value); });
}
template <typename T>
T atomicSub(T* where, std::type_identity_t<T> value) {
  return emulator::exchange(where, [=](T old) { return T(old - value); });
}
template <typename T>
T atomicMax(T* where, std::type_identity_t<T> value) {
  return emulator::exchange(where, [=](T old) { return old > value ? old : value; });
}
template <typename T>
T atomicMin(T* where, std::type_identity_t<T> value) {
  return emulator::exchange(where, [=](T old) { return old < value ? old : value; });
}
template <typename T>
T atomicAnd(T* where, std::type_identity_t<T> value) {
  return emulator::exchange(where, [=](T old) { return T(old & value); });
}
template <typename T>
T atomicOr(T* where, std::type_identity_t<T> value) {
  return emulator::exchange(where, [=](T old) { return T(old | value); });
}
template <typename T>
T atomicXor(T* where, std::type_identity_t<T> value) {
  return emulator::exchange(where, [=](T old) { return T(old ^ value); });
}
template <typename T>
T atomicExch(T* where, std::type_identity_t<T> value) {
  return emulator::exchange(where, [=](T) { return value; });
}
template <typename T>
T atomicCAS(T* where, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return emulator::exchange(where, [=](T old) { return old == expected ? value : old; });
}
inline unsigned atomicInc(unsigned* where, unsigned last) {
  return emulator::exchange(where, [=](unsigned old) { return old >= last ? 0u : old + 1; });
}
inline unsigned atomicDec(unsigned* where, unsigned last) {
  return emulator::exchange(where, [=](unsigned old) { return old == 0 || old > last ? last : old - 1; });
}

inline void __threadfence() { emulator::note_fence(); }
inline void __threadfence_block() {}
inline void __threadfence_system() { __threadfence(); }

// How a load or store treats the caches changes nothing here.
#define EMULATOR_LOAD(name)  \
  template <typename T>      \
  T name(const T* address) { \
    return *address;         \
  }
#define EMULATOR_STORE(name)                             \
  template <typename T>                                  \
  void name(T* address, std::type_identity_t<T> value) { \
    *address = value;                                    \
  }
EMULATOR_LOAD(__ldg)
EMULATOR_LOAD(__ldca)
EMULATOR_LOAD(__ldcg)
EMULATOR_LOAD(__ldcs)
EMULATOR_LOAD(__ldlu)
EMULATOR_LOAD(__ldcv)
EMULATOR_STORE(__stwb)
EMULATOR_STORE(__stcg)
EMULATOR_STORE(__stcs)
EMULATOR_STORE(__stwt)
#undef EMULATOR_LOAD
#undef EMULATOR_STORE
