#include "lobit/convert/saturate.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <span>

#include "lobit/dtype/reference.h"

namespace lobit {
namespace {

constexpr float kF16Max = 65504.0f;
const float kBF16Max = std::bit_cast<float>(uint32_t{0x7F7F0000});

struct Bounds {
  float low;
  float high;
};

// What a block's values may be for every scale and minimum to be at most 65504.
Bounds bounds(Encoding to, std::span<const float> block) {
  const auto symmetric = [](float codes) { return Bounds{-kF16Max * codes, kF16Max * codes}; };
  const auto above_minimum = [&](float codes) {
    const float minimum = std::max(*std::ranges::min_element(block), -kF16Max);
    return Bounds{-kF16Max, minimum > kF16Max ? kF16Max : minimum + kF16Max * codes};
  };
  switch (to) {
    case Encoding::kQ8_0:
      return symmetric(127);
    case Encoding::kQ4_0:
      return symmetric(8);
    case Encoding::kQ5_0:
      return symmetric(16);
    case Encoding::kQ4_1:
      return above_minimum(15);
    case Encoding::kQ5_1:
      return above_minimum(31);
    default:
      return symmetric(1);
  }
}

bool representable(Encoding to, std::span<const float> group) {
  std::array<std::byte, 1024> encoded;  // more than any block
  return reference::encode(to, group.data(), encoded.data(), group.size()).unrepresentable == 0;
}

void saturate_block(Encoding to, std::span<float> block) {
  float largest = 0;
  for (const float v : block) {
    if (std::isfinite(v)) largest = std::max(largest, std::fabs(v));
  }
  for (float& v : block) {
    if (std::isnan(v)) v = 0;
    if (std::isinf(v)) v = std::copysign(largest > 0 ? largest : kF16Max, v);
  }
  if (representable(to, block)) return;
  const auto [low, high] = bounds(to, block);
  for (float& v : block) v = std::clamp(v, low, high);
}

}  // namespace

uint64_t saturate(Encoding to, float* values, size_t count) {
  const size_t size = traits(to).block_elements;
  uint64_t changed = 0;
  for (size_t at = 0; at < count; at += size) {
    const std::span<float> group(values + at, size);
    if (representable(to, group)) continue;
    if (traits(to).is_block()) {
      saturate_block(to, group);
    } else {
      group[0] = std::copysign(to == Encoding::kF16 ? kF16Max : kBF16Max, group[0]);
    }
    ++changed;
  }
  return changed;
}

}  // namespace lobit
