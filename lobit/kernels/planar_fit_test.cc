// The sums behind planar scales: at every SIMD level bit for bit those of the reference, which are checked
// against arithmetic of their own.
#include "lobit/kernels/planar_fit.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "lobit/kernels/codec_test_support.h"

namespace lobit::kernels {
namespace {

constexpr CodeRange kRanges[] = {{-127, 127}, {-8, 7}, {-1, 2}, {-1, 1}};

void expect_same_as_reference(CodeRange range, const Floats& values, float scale) {
  const PlanarFit fit = reference::fit_planar(range, values.data(), values.size(), 1 / scale);
  const double error = reference::planar_error(range, values.data(), values.size(), scale);
  for (const SimdLevel level : simd_levels()) {
    SCOPED_TRACE(std::string(simd_level_name(level)) + ", " + std::to_string(values.size()) +
                 " values, codes up to " + std::to_string(range.high));
    const AtLevel at(level);
    ByteVector bytes(values.size() * sizeof(float));
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    Guarded in(bytes);
    const auto* const unaligned = reinterpret_cast<const float*>(in.data());
    const PlanarFit found = fit_planar(range, unaligned, values.size(), 1 / scale);
    EXPECT_EQ(found.xq, fit.xq);
    EXPECT_EQ(found.qq, fit.qq);
    EXPECT_EQ(planar_error(range, unaligned, values.size(), scale), error);
  }
}

TEST(PlanarFit, MatchesReferenceForEveryLength) {
  for (const CodeRange range : kRanges) {
    for (uint32_t count = 0; count <= 100; ++count) {
      expect_same_as_reference(range, draw(normal, count, count), 0.02f);
    }
    expect_same_as_reference(range, draw(normal, 5000, 1), -0.01f);
  }
}

TEST(PlanarFit, MatchesReferenceOnEveryDistribution) {
  for (const CodeRange range : kRanges) {
    uint32_t seed = 1;
    for (const Draw next : kDraws) expect_same_as_reference(range, draw(next, 1531, seed++), 0.7f);
  }
}

// The largest codes everywhere: the sums of their squares stay exact.
TEST(PlanarFit, CountsTheLargestCodesExactly) {
  constexpr size_t kCount = 100'000;
  for (const CodeRange range : kRanges) {
    const Floats values(kCount, 1000.0f);
    expect_same_as_reference(range, values, 1.0f);
    const PlanarFit fit = fit_planar(range, values.data(), values.size(), 1.0f);
    EXPECT_EQ(fit.qq, static_cast<double>(kCount) * range.high * range.high);
    EXPECT_EQ(fit.xq, static_cast<double>(kCount) * 1000 * range.high);
  }
}

TEST(PlanarFit, EqualsArithmeticInDoublePrecision) {
  const Floats values = draw(normal, 333, 9);
  constexpr float kScale = 0.0078125f;
  double xq = 0;
  double qq = 0;
  double error = 0;
  for (const float v : values) {
    const double code = std::clamp(std::nearbyint(v / double{kScale}), -8.0, 7.0);
    xq += v * code;
    qq += code * code;
    error += (v - kScale * code) * (v - kScale * code);
  }
  const PlanarFit fit = fit_planar({-8, 7}, values.data(), values.size(), 1 / kScale);
  EXPECT_NEAR(fit.xq, xq, 1e-12 * std::fabs(xq));
  EXPECT_EQ(fit.qq, qq);
  EXPECT_NEAR(planar_error({-8, 7}, values.data(), values.size(), kScale), error, 1e-6 * error);
  EXPECT_EQ(fit.scale(), static_cast<float>(fit.xq / fit.qq));
  EXPECT_DOUBLE_EQ(fit.score(), fit.xq * fit.xq / fit.qq);
}

}  // namespace
}  // namespace lobit::kernels
