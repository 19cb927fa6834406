#include "lobit/device/cpu/features.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace lobit::detail {
namespace {

struct Feature {
  const char* name;
  bool present;
};

std::vector<std::string> present_ones(std::initializer_list<Feature> features) {
  std::vector<std::string> names;
  for (const Feature& feature : features) {
    if (feature.present) names.emplace_back(feature.name);
  }
  return names;
}

#if defined(__x86_64__)
// Whether the system gives tile registers to those who ask. Asking itself (ARCH_REQ_XCOMP_PERM) is left to
// who uses them: it makes the signal stacks of the whole process larger.
bool system_grants_tiles() {
  constexpr int kArchGetSupported = 0x1021;  // ARCH_GET_XCOMP_SUPP
  constexpr uint64_t kTiles = 3 << 17;       // XTILECFG, XTILEDATA
  uint64_t supported = 0;
  if (::syscall(SYS_arch_prctl, kArchGetSupported, &supported) != 0) return false;
  return (supported & kTiles) == kTiles;
}

struct TileFeatures {
  bool tile = false;
  bool int8 = false;
  bool bf16 = false;
};

TileFeatures tile_features() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || ((d >> 24) & 1) == 0) return {};
  if (!system_grants_tiles()) return {};
  return {true, ((d >> 25) & 1) != 0, ((d >> 22) & 1) != 0};
}
#endif

}  // namespace

std::vector<std::string> processor_features() {
#if defined(__x86_64__)
  // The compiler's function also asks XCR0, that is, whether the system saves the wide registers.
  __builtin_cpu_init();
  const TileFeatures amx = tile_features();
  return present_ones({{"sse4.2", __builtin_cpu_supports("sse4.2") != 0},
                       {"avx2", __builtin_cpu_supports("avx2") != 0},
                       {"fma", __builtin_cpu_supports("fma") != 0},
                       {"f16c", __builtin_cpu_supports("f16c") != 0},
                       {"avxvnni", __builtin_cpu_supports("avxvnni") != 0},
                       {"avx512f", __builtin_cpu_supports("avx512f") != 0},
                       {"avx512bw", __builtin_cpu_supports("avx512bw") != 0},
                       {"avx512vl", __builtin_cpu_supports("avx512vl") != 0},
                       {"avx512dq", __builtin_cpu_supports("avx512dq") != 0},
                       {"avx512vnni", __builtin_cpu_supports("avx512vnni") != 0},
                       {"avx512vbmi", __builtin_cpu_supports("avx512vbmi") != 0},
                       {"avx512bf16", __builtin_cpu_supports("avx512bf16") != 0},
                       {"amx-tile", amx.tile},
                       {"amx-int8", amx.int8},
                       {"amx-bf16", amx.bf16}});
#elif defined(__aarch64__)
  const unsigned long first = ::getauxval(AT_HWCAP);
  const unsigned long second = ::getauxval(AT_HWCAP2);
  return present_ones({{"neon", (first & HWCAP_ASIMD) != 0},
                       {"fp16", (first & HWCAP_ASIMDHP) != 0},
                       {"dotprod", (first & HWCAP_ASIMDDP) != 0},
                       {"sve", (first & HWCAP_SVE) != 0},
                       {"i8mm", (second & HWCAP2_I8MM) != 0},
                       {"bf16", (second & HWCAP2_BF16) != 0}});
#else
  return present_ones({});
#endif
}

}  // namespace lobit::detail
