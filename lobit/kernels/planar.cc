#include "lobit/kernels/planar.h"

#include <algorithm>
#include <cstring>

#include "lobit/dtype/value_format.h"

namespace lobit::kernels {

void measure_planar(Encoding encoding, const float* values, size_t count, PlanarExtent& extent) {
  reference::measure_planar(encoding, values, count, extent);
}

float planar_scale_direct(Encoding encoding, const float* values, size_t count) {
  PlanarExtent extent;
  measure_planar(encoding, values, count, extent);
  return direct_planar_scale(encoding, extent);
}

EncodeCounts encode_planar(Encoding encoding, const float* values, std::byte* codes, size_t count,
                           float scale) {
  return reference::encode_planar(encoding, values, codes, count, scale);
}

void decode_planar(Encoding encoding, const std::byte* codes, float* values, size_t count, float scale) {
  reference::decode_planar(encoding, codes, values, count, scale);
}

EncodeCounts encode_planar_groups(Encoding encoding, const float* values, std::byte* codes, float* scales,
                                  size_t count, size_t group) {
  const size_t group_bytes = group * planar_bits(encoding) / 8;
  EncodeCounts counts;
  for (size_t first = 0; first < count; first += group, codes += group_bytes, ++scales) {
    const size_t n = std::min(group, count - first);
    const float scale = planar_scale_direct(encoding, values + first, n);
    std::memcpy(reinterpret_cast<std::byte*>(scales), &scale, sizeof scale);
    counts += encode_planar(encoding, values + first, codes, n, scale);
  }
  return counts;
}

void decode_planar_groups(Encoding encoding, const std::byte* codes, const float* scales, float* values,
                          size_t count, size_t group) {
  const size_t group_bytes = group * planar_bits(encoding) / 8;
  for (size_t first = 0; first < count; first += group, codes += group_bytes, ++scales) {
    float scale;
    std::memcpy(&scale, reinterpret_cast<const std::byte*>(scales), sizeof scale);
    decode_planar(encoding, codes, values + first, std::min(group, count - first), scale);
  }
}

size_t first_invalid_planar(Encoding encoding, const std::byte* codes, size_t count) {
  return reference::first_invalid_planar(encoding, codes, count);
}

}  // namespace lobit::kernels
