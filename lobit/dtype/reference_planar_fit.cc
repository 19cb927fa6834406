#include "lobit/dtype/reference_planar_fit.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "lobit/dtype/scale_search_internal.h"

namespace lobit::reference {
namespace {

using Sums = std::array<double, PlanarFit::kSums>;

float load(const float* values, size_t index) {
  float value;
  std::memcpy(&value, reinterpret_cast<const std::byte*>(values) + index * sizeof value, sizeof value);
  return value;
}

// Halves added to halves as vectors do it.
double total(Sums sums) {
  for (size_t half = sums.size() / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

float code_of(float scaled, CodeRange range) {
  const float within = std::clamp(scaled, static_cast<float>(range.low), static_cast<float>(range.high));
  return (within + kRounder) - kRounder;
}

}  // namespace

PlanarFit fit_planar(CodeRange range, const float* values, size_t count, float inverse) {
  Sums xq = {};
  double qq = 0;  // exact in any order
  for (size_t i = 0; i < count; ++i) {
    const float v = load(values, i);
    const double q = code_of(v * inverse, range);
    xq[i % xq.size()] += v * q;
    qq += q * q;
  }
  return {total(xq), qq};
}

double planar_error(CodeRange range, const float* values, size_t count, float scale) {
  const float inverse = 1.0f / scale;
  Sums sums = {};
  for (size_t i = 0; i < count; ++i) {
    const float v = load(values, i);
    const double error = v - scale * code_of(v * inverse, range);
    sums[i % sums.size()] += error * error;
  }
  return total(sums);
}

}  // namespace lobit::reference
