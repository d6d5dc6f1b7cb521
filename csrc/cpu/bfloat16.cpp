// Asks the CPU, and Linux for AMX: its tiles are 8 KiB that every switch of threads would have to save.
#include "bfloat16.h"

#include <stdexcept>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace minidl {
namespace {

constexpr Bfloat16 all[] = {Bfloat16::amx, Bfloat16::avx512};  // fastest first

// Intel, Architecture Instruction Set Extensions, CPUID leaf 7; Linux, Documentation/arch/x86/xstate.rst.
[[maybe_unused]] bool request_amx() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
  constexpr long request_permission = 0x1023, tile_data = 18;
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  if (!(edx & amx_bf16) || !(edx & amx_tile)) return false;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

bool is_available([[maybe_unused]] Bfloat16 instructions) {
#if defined(__x86_64__)
  // Factors are rounded by AVX512-BF16 in any case.
  static const bool has_avx512 = __builtin_cpu_supports("avx512bf16"), has_amx = has_avx512 && request_amx();
  return instructions == Bfloat16::amx ? has_amx : has_avx512;
#else
  return false;
#endif
}

// Products of two pieces are three of one, which pays by AMX alone.
int max_pieces(Bfloat16 instructions) { return instructions == Bfloat16::amx ? 2 : 1; }

// Intel's processors multiply bfloat16 vectors at the rate of float32's. Layers of 784 to 1024 on an Emerald Rapids
// Xeon took twice as long as in float32.
bool outruns_float32([[maybe_unused]] Bfloat16 instructions) {
#if defined(__x86_64__)
  return instructions == Bfloat16::amx || __builtin_cpu_is("amd");
#else
  return false;
#endif
}

}  // namespace

const char* name_of(Bfloat16 instructions) {
  switch (instructions) {
    case Bfloat16::amx:
      return "amx";
    case Bfloat16::avx512:
      return "avx512";
    default:
      return "none";
  }
}

std::vector<std::string> available_bfloat16() {
  std::vector<std::string> names;
  for (Bfloat16 instructions : all)
    if (is_available(instructions)) names.push_back(name_of(instructions));
  return names;
}

std::string fastest_bfloat16(int pieces) {
  for (Bfloat16 instructions : all)
    if (is_available(instructions) && outruns_float32(instructions) && pieces <= max_pieces(instructions))
      return name_of(instructions);
  return name_of(Bfloat16::none);
}

void choose_bfloat16(const std::string& name, int pieces) {
  if (name == name_of(Bfloat16::none)) return set_rounding({});
  for (Bfloat16 instructions : all) {
    if (name != name_of(instructions) || !is_available(instructions)) continue;
    if (pieces < 1 || pieces > max_pieces(instructions))
      throw std::invalid_argument("set_bfloat16(): with '" + name + "' pieces must be from 1 to " +
                                  std::to_string(max_pieces(instructions)) + ", got " + std::to_string(pieces));
    return set_rounding({instructions, pieces});
  }
  std::string known = name_of(Bfloat16::none);
  for (const std::string& available : available_bfloat16()) known += ", " + available;
  throw std::invalid_argument("set_bfloat16(): '" + name + "' is not available on this machine; it has: " + known);
}

}  // namespace minidl
