#include "lobit/dtype/reference_planar.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "lobit/base/check.h"
#include "lobit/dtype/value_format.h"

namespace lobit {
namespace {

constexpr uint32_t kMagnitude = 0x7FFFFFFF;

float load(const float* values, size_t index) {
  float value;
  std::memcpy(&value, reinterpret_cast<const std::byte*>(values) + index * sizeof value, sizeof value);
  return value;
}

// The sums of magnitudes, halves added to halves as vectors do it.
double total(std::array<double, PlanarExtent::kSums> sums) {
  for (size_t half = PlanarExtent::kSums / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

// `lo` for NaN.
float clip(float value, float low, float high) {
  if (!(value > low)) return low;
  return value < high ? value : high;
}

// The code of value / scale.
unsigned code_of(Encoding encoding, float scaled) {
  switch (encoding) {
    case Encoding::kQ8_0:
      return static_cast<uint8_t>(static_cast<int8_t>(std::round(clip(scaled, -127.0f, 127.0f))));
    case Encoding::kQ4_0:
      return static_cast<unsigned>(clip(scaled + 8.5f, 0.0f, 15.0f));
    case Encoding::kQ2_0:
      return static_cast<unsigned>(std::lround(clip(scaled, -1.0f, 2.0f)) + 1);
    default:
      return static_cast<unsigned>(std::lround(clip(scaled, -1.0f, 1.0f)) + 1);
  }
}

float value_of(Encoding encoding, unsigned code) {
  switch (encoding) {
    case Encoding::kQ8_0:
      return static_cast<float>(static_cast<int8_t>(code));
    case Encoding::kQ4_0:
      return static_cast<float>(code) - 8.0f;
    case Encoding::kQ1_0:
      return code != 0 ? 1.0f : -1.0f;
    default:
      return static_cast<float>(code) - 1.0f;
  }
}

}  // namespace

float direct_planar_scale(Encoding encoding, const PlanarExtent& extent) {
  if (encoding == Encoding::kQ1_0) {
    return extent.count == 0 ? 0.0f : planar_mean(total(extent.sums), extent.count);
  }
  const auto peak = std::bit_cast<float>(extent.peak);
  const float magnitude = std::fabs(peak);
  if (!std::isfinite(peak)) return std::numeric_limits<float>::infinity();
  if (magnitude < kTinyGroup) return 0.0f;
  if (encoding == Encoding::kQ8_0) return magnitude / 127.0f;
  return encoding == Encoding::kQ4_0 ? peak / -8.0f : magnitude;
}

namespace reference {

void measure_planar(Encoding encoding, const float* values, size_t count, PlanarExtent& extent) {
  for (size_t i = 0; i < count; ++i) {
    const float value = load(values, i);
    if (encoding == Encoding::kQ1_0) {
      extent.sums[extent.count++ % PlanarExtent::kSums] += std::fabs(static_cast<double>(value));
      continue;
    }
    const auto pattern = std::bit_cast<uint32_t>(value);
    const uint32_t bits = encoding == Encoding::kQ4_0 ? pattern : pattern & kMagnitude;
    if ((bits & kMagnitude) > (extent.peak & kMagnitude)) extent.peak = bits;
    ++extent.count;
  }
}

EncodeCounts encode_planar(Encoding encoding, const float* values, std::byte* codes, size_t count,
                           float scale) {
  const uint32_t bits = planar_bits(encoding);
  LOBIT_DCHECK(bits != 0);
  EncodeCounts counts;
  if (!std::isfinite(scale)) counts.unrepresentable = 1;
  const float reciprocal = 1.0f / scale;
  const bool coded = std::isfinite(scale) && std::isfinite(reciprocal);
  unsigned byte = 0;
  for (size_t i = 0; i < count; ++i) {
    const float value = load(values, i);
    unsigned code;
    if (encoding == Encoding::kQ1_0) {
      code = value >= 0.0f || !std::isfinite(scale) ? 1u : 0u;  // -0 counts as positive
    } else {
      code = code_of(encoding, coded ? value * reciprocal : 0.0f);
      if (!coded && counts.unrepresentable == 0 && value != 0.0f) counts.flushed = 1;
    }
    const size_t shift = i * bits % 8;
    byte |= code << shift;
    if (shift + bits == 8 || i + 1 == count) {
      codes[i * bits / 8] = static_cast<std::byte>(byte);
      byte = 0;
    }
  }
  return counts;
}

void decode_planar(Encoding encoding, const std::byte* codes, float* values, size_t count, float scale) {
  const uint32_t bits = planar_bits(encoding);
  LOBIT_DCHECK(bits != 0);
  auto* to = reinterpret_cast<std::byte*>(values);
  for (size_t i = 0; i < count; ++i) {
    const unsigned code = std::to_integer<unsigned>(codes[i * bits / 8]) >> (i * bits % 8);
    const float value = value_of(encoding, code & ((1u << bits) - 1)) * scale;
    std::memcpy(to + i * sizeof value, &value, sizeof value);
  }
}

size_t first_invalid_planar(Encoding encoding, const std::byte* codes, size_t count) {
  if (encoding != Encoding::kTQ2_0) return count;
  for (size_t i = 0; i < count; ++i) {
    if ((std::to_integer<unsigned>(codes[i / 4]) >> (i % 4 * 2) & 3u) == 3u) return i;
  }
  return count;
}

}  // namespace reference
}  // namespace lobit
