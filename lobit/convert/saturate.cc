#include "lobit/convert/saturate.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

namespace lobit {
namespace {

constexpr float kF16Max = 65504.0f;
const float kBF16Max = std::bit_cast<float>(uint32_t{0x7F7F0000});

// The largest magnitude whose block can be stored: every scale and minimum is then at most 65504.
float block_limit(Encoding to) {
  switch (to) {
    case Encoding::kQ8_0:
      return kF16Max * 127;
    case Encoding::kQ4_0:
      return kF16Max * 8;
    case Encoding::kQ5_0:
      return kF16Max * 16;
    default:  // the minimum of Q4_1 and Q5_1, the scale of the others, is a value itself
      return kF16Max;
  }
}

uint64_t clamp_values(std::span<float> values, float limit) {
  uint64_t changed = 0;
  for (float& v : values) {
    if (!std::isfinite(v) || std::fabs(v) <= limit) continue;
    v = std::copysign(limit, v);
    ++changed;
  }
  return changed;
}

bool saturate_block(std::span<float> block, float limit) {
  float largest = 0;
  for (const float v : block) {
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  }
  const float infinite = largest > 0 ? std::min(largest, limit) : limit;
  bool changed = false;
  for (float& v : block) {
    const float before = v;
    if (std::isnan(v)) {
      v = 0;
    } else if (std::isinf(v)) {
      v = std::copysign(infinite, v);
    } else if (std::fabs(v) > limit) {
      v = std::copysign(limit, v);
    }
    changed |= std::bit_cast<uint32_t>(v) != std::bit_cast<uint32_t>(before);
  }
  return changed;
}

}  // namespace

uint64_t saturate(Encoding to, float* values, size_t count) {
  if (to == Encoding::kF32) return 0;
  if (to == Encoding::kF16) return clamp_values({values, count}, kF16Max);
  if (to == Encoding::kBF16) return clamp_values({values, count}, kBF16Max);
  const size_t block = traits(to).block_elements;
  uint64_t changed = 0;
  for (size_t at = 0; at < count; at += block) {
    if (saturate_block({values + at, block}, block_limit(to))) ++changed;
  }
  return changed;
}

}  // namespace lobit
