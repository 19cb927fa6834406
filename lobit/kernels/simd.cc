#include "lobit/kernels/simd.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include <hwy/targets.h>

namespace lobit {
namespace {

struct LevelRow {
  SimdLevel level;
  std::string_view name;
  int64_t target;  // Highway's bit, 0 for the reference codecs
};

constexpr std::array<LevelRow, 6> kLevels{{{SimdLevel::kScalar, "scalar", 0},
                                           {SimdLevel::kSse4, "sse4", HWY_SSE4},
                                           {SimdLevel::kAvx2, "avx2", HWY_AVX2},
                                           {SimdLevel::kAvx512, "avx512", HWY_AVX3},
                                           {SimdLevel::kAvx512Dl, "avx512_dl", HWY_AVX3_DL},
                                           {SimdLevel::kNeon, "neon", HWY_NEON}}};

std::vector<SimdLevel> find_levels() {
  std::vector<SimdLevel> levels;
  const int64_t usable = hwy::SupportedTargets() & HWY_TARGETS;
  for (const LevelRow& row : kLevels) {
    if (row.target == 0 || (usable & row.target) != 0) levels.push_back(row.level);
  }
  return levels;
}

// Highway keeps which row of its dispatch tables is used. It knows nothing of kScalar: the lookups in codec.h
// ask simd_level() first.
void choose_target(SimdLevel level) {
  const int64_t target = kLevels[static_cast<size_t>(level)].target;
  if (target != 0) hwy::GetChosenTarget().Update(target);
}

std::atomic<SimdLevel>& chosen() {
  static std::atomic<SimdLevel> level = [] {
    const SimdLevel best = simd_levels().back();
    choose_target(best);
    return best;
  }();
  return level;
}

}  // namespace

std::string_view simd_level_name(SimdLevel level) {
  return kLevels[static_cast<size_t>(level)].name;
}

std::span<const SimdLevel> simd_levels() {
  static const std::vector<SimdLevel> kRunnable = find_levels();
  return kRunnable;
}

SimdLevel simd_level() {
  return chosen().load(std::memory_order_relaxed);
}

bool set_simd_level(SimdLevel level) {
  if (std::ranges::find(simd_levels(), level) == simd_levels().end()) return false;
  chosen().store(level, std::memory_order_relaxed);
  choose_target(level);
  return true;
}

}  // namespace lobit
