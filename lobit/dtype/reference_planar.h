// The planar codes of value_format.h, one value at a time: the definition that the SIMD kernels are tested
// against. Pure functions without allocation, safe from any thread; the default floating-point environment is
// expected (ScopedFpEnv), and pointers may have any address. `encoding` is one with planar_bits().
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"
#include "lobit/dtype/reference.h"

namespace lobit {

// What must be known of a group's values to choose its direct scale. A group that does not fit a buffer is
// measured piece by piece, in order; the scale does not depend on the pieces.
struct PlanarExtent {
  // Sums of magnitudes go round these, so that vectors of every length add in the same order.
  static constexpr size_t kSums = 16;

  uint64_t count = 0;
  uint32_t peak =
      0;  // bits of the first value of largest magnitude (NaN > Inf > numbers); of I4 with its sign
  std::array<double, kSums> sums = {};  // sums[i % kSums] adds |value i|, in order; of I1 alone
};

// The scale of the block encoding's own rule, not rounded to F16: largest magnitude / 127 for I8, the value
// of largest magnitude / -8 for I4, largest magnitude for I2 and BitNet158, mean magnitude for I1. 0 for a
// group whose values are all 0, or too small for a reciprocal (below kTinyGroup, not for I1); +Inf for one
// with a NaN or an Inf.
LOBIT_API float direct_planar_scale(Encoding encoding, const PlanarExtent& extent);

// The scale of `count` > 0 values of I1 whose magnitudes add up to `total`. Never beyond F32 when no
// magnitude is.
inline float planar_mean(double total, uint64_t count) {
  const double mean = total / static_cast<double>(count);
  return std::isfinite(mean) ? static_cast<float>(mean) : std::numeric_limits<float>::infinity();
}

namespace reference {

// Adds the next `count` values of the group.
LOBIT_API void measure_planar(Encoding encoding, const float* values, size_t count, PlanarExtent& extent);

// Codes of `count` values of one group, beginning with a fresh byte; all other bits of the last byte are 0.
// Codes are rounded as the block encoding rounds them and clipped to their range. A scale that is not finite
// gives the codes of zeros and counts 1 as unrepresentable. So does a scale without a finite reciprocal,
// which counts 1 as flushed when a value is not 0 (not for I1, whose codes are signs). Of a group encoded in
// several calls the caller counts one. A NaN or an
// Inf beside a finite scale gets a code that is not defined.
LOBIT_API EncodeCounts encode_planar(Encoding encoding, const float* values, std::byte* codes, size_t count,
                                     float scale);

// The inverse: code * scale.
LOBIT_API void decode_planar(Encoding encoding, const std::byte* codes, float* values, size_t count,
                             float scale);

// The index of the first of `count` codes that has no meaning (3 of BitNet158), or `count`.
LOBIT_API size_t first_invalid_planar(Encoding encoding, const std::byte* codes, size_t count);

}  // namespace reference
}  // namespace lobit
