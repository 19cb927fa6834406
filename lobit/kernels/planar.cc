#include "lobit/kernels/planar.h"

#include <algorithm>
#include <cstring>

#include "lobit/base/check.h"
#include "lobit/dtype/value_format.h"
#include "lobit/kernels/cpu/planar_functions.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

template <Encoding kEncoding>
void measure(const float* values, size_t count, PlanarExtent& extent) {
  reference::measure_planar(kEncoding, values, count, extent);
}

template <Encoding kEncoding>
EncodeCounts encode(const float* values, std::byte* codes, size_t count, float scale) {
  return reference::encode_planar(kEncoding, values, codes, count, scale);
}

template <Encoding kEncoding>
void decode(const std::byte* codes, float* values, size_t count, float scale) {
  reference::decode_planar(kEncoding, codes, values, count, scale);
}

template <Encoding kEncoding>
EncodeCounts encode_groups(const float* values, std::byte* codes, float* scales, size_t count, size_t group) {
  const size_t group_bytes = group * planar_bits(kEncoding) / 8;
  auto* to = reinterpret_cast<std::byte*>(scales);
  EncodeCounts counts;
  for (size_t first = 0; first < count; first += group, codes += group_bytes, to += sizeof(float)) {
    const size_t n = std::min(group, count - first);
    PlanarExtent extent;
    measure<kEncoding>(values + first, n, extent);
    const float scale = direct_planar_scale(kEncoding, extent);
    std::memcpy(to, &scale, sizeof(scale));
    counts += encode<kEncoding>(values + first, codes, n, scale);
  }
  return counts;
}

template <Encoding kEncoding>
void decode_groups(const std::byte* codes, const float* scales, float* values, size_t count, size_t group) {
  const size_t group_bytes = group * planar_bits(kEncoding) / 8;
  const auto* from = reinterpret_cast<const std::byte*>(scales);
  for (size_t first = 0; first < count; first += group, codes += group_bytes, from += sizeof(float)) {
    float scale;
    std::memcpy(&scale, from, sizeof(scale));
    decode<kEncoding>(codes, values + first, std::min(group, count - first), scale);
  }
}

template <Encoding kEncoding>
const PlanarFunctions& reference_functions() {
  static constexpr PlanarFunctions kFunctions{measure<kEncoding>, encode<kEncoding>, decode<kEncoding>,
                                              encode_groups<kEncoding>, decode_groups<kEncoding>};
  return kFunctions;
}

const PlanarFunctions& functions(Encoding encoding) {
  LOBIT_DCHECK(planar_bits(encoding) != 0);
  if (simd_level() != SimdLevel::kScalar) {
    if (const PlanarFunctions* found = planar_functions(encoding)) return *found;
  }
  switch (encoding) {
    case Encoding::kQ8_0:
      return reference_functions<Encoding::kQ8_0>();
    case Encoding::kQ4_0:
      return reference_functions<Encoding::kQ4_0>();
    case Encoding::kQ2_0:
      return reference_functions<Encoding::kQ2_0>();
    case Encoding::kTQ2_0:
      return reference_functions<Encoding::kTQ2_0>();
    default:
      return reference_functions<Encoding::kQ1_0>();
  }
}

}  // namespace

void measure_planar(Encoding encoding, const float* values, size_t count, PlanarExtent& extent) {
  functions(encoding).measure(values, count, extent);
}

float planar_scale_direct(Encoding encoding, const float* values, size_t count) {
  PlanarExtent extent;
  measure_planar(encoding, values, count, extent);
  return direct_planar_scale(encoding, extent);
}

EncodeCounts encode_planar(Encoding encoding, const float* values, std::byte* codes, size_t count,
                           float scale) {
  return functions(encoding).encode(values, codes, count, scale);
}

void decode_planar(Encoding encoding, const std::byte* codes, float* values, size_t count, float scale) {
  functions(encoding).decode(codes, values, count, scale);
}

EncodeCounts encode_planar_groups(Encoding encoding, const float* values, std::byte* codes, float* scales,
                                  size_t count, size_t group) {
  return functions(encoding).encode_groups(values, codes, scales, count, group);
}

void decode_planar_groups(Encoding encoding, const std::byte* codes, const float* scales, float* values,
                          size_t count, size_t group) {
  functions(encoding).decode_groups(codes, scales, values, count, group);
}

size_t first_invalid_planar(Encoding encoding, const std::byte* codes, size_t count) {
  if (encoding != Encoding::kTQ2_0) return count;
  // 32 codes at a time: a code 3 has both of its bits.
  constexpr uint64_t kLowBits = 0x5555555555555555;
  size_t valid = 0;
  for (; valid + 32 <= count; valid += 32) {
    uint64_t word;
    std::memcpy(&word, codes + valid / 4, sizeof(word));
    if ((word & word >> 1 & kLowBits) != 0) break;
  }
  return valid + reference::first_invalid_planar(encoding, codes + valid / 4, count - valid);
}

}  // namespace lobit::kernels
