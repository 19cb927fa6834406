// What choosing the scale of a planar group asks of its values, one value at a time: the definition that the
// SIMD kernels are tested against. Pure functions without allocation, safe from any thread; the default
// floating-point environment is expected (ScopedFpEnv), and `values` may have any address.
#pragma once

#include <cstddef>

#include "lobit/base/export.h"
#include "lobit/dtype/block_codes.h"

namespace lobit {

// Least squares for the codes q that one inverse scale gives the values x of a group.
struct PlanarFit {
  // Sums go round so many, so that vectors of every length add in the same order.
  static constexpr size_t kSums = 16;

  double xq = 0;  // sum of x * q
  double qq = 0;  // sum of q * q

  // By how much scale() lowers the squared error.
  double score() const { return qq > 0 ? xq * xq / qq : 0; }
  float scale() const { return qq > 0 ? static_cast<float>(xq / qq) : 0.0f; }
};

namespace reference {

// A code is the product of value and inverse in F32, cut to the range and rounded, halves to even. The values
// are finite.
LOBIT_API PlanarFit fit_planar(CodeRange range, const float* values, size_t count, float inverse);

// The sum of the squares of what values and scale * code, rounded to F32, are apart, with the codes of
// fit_planar() for 1 / scale, which is finite.
LOBIT_API double planar_error(CodeRange range, const float* values, size_t count, float scale);

}  // namespace reference
}  // namespace lobit
