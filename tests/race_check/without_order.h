// Included before everything else, takes the ordering out of the pool's atomics: the race check must report that.
#pragma once
#include <atomic>
#include <mutex>
#include <thread>

#define memory_order_acquire memory_order_relaxed
#define memory_order_release memory_order_relaxed
