#include "lobit/kernels/measure.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/kernels/philox.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

class EverySimdLevelMeasures : public testing::TestWithParam<SimdLevel> {
 protected:
  void SetUp() override { ASSERT_TRUE(set_simd_level(GetParam())); }
  void TearDown() override { set_simd_level(simd_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Measure, EverySimdLevelMeasures,
                         testing::ValuesIn(simd_levels().begin(), simd_levels().end()),
                         [](const auto& level) { return std::string(simd_level_name(level.param)); });

// Values of both signs over 2^-20 to 2^20, with some zeros, NaN and Inf.
std::vector<float> mixed_values(size_t n, uint32_t seed) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) {
    const PhiloxBlock bits = philox4x32({static_cast<uint32_t>(i), seed, 0, 0}, {1, 2});
    values[i] = std::ldexp(static_cast<float>(static_cast<int32_t>(bits[0])) * 0x1p-31f,
                           static_cast<int>(bits[1] % 41) - 20);
    if (bits[2] % 97 == 0) values[i] = 0.0f * values[i];
    if (bits[2] % 89 == 1) values[i] = bits[3] % 2 == 0 ? kNan : -kNan;
    if (bits[2] % 83 == 2) values[i] = bits[3] % 2 == 0 ? kInf : -kInf;
  }
  return values;
}

bool same_bits(const auto& a, const auto& b) {
  static_assert(sizeof(a) == sizeof(b));
  return std::memcmp(&a, &b, sizeof(a)) == 0;
}

TEST_P(EverySimdLevelMeasures, AddsErrors) {
  // Exact in double, so that the order of the additions does not matter.
  const std::vector<float> original{1, -2, 3, 4, 5, 6, 7, 8, 9, -10, kNan, 12, 1};
  const std::vector<float> decoded{1, -2, 1, 4, 5, 6, 7, 8, 9, -13, 11, kInf, 4};
  ErrorSums sums;
  accumulate_error(original.data(), decoded.data(), original.size(), sums);
  EXPECT_EQ(sums.count, 11u);
  EXPECT_EQ(sums.non_finite, 2u);
  EXPECT_EQ(sums.signal, 1 + 4 + 9 + 16 + 25 + 36 + 49 + 64 + 81 + 100 + 1);
  EXPECT_EQ(sums.decoded, 1 + 4 + 1 + 16 + 25 + 36 + 49 + 64 + 81 + 169 + 16);
  EXPECT_EQ(sums.dot, 1 + 4 + 3 + 16 + 25 + 36 + 49 + 64 + 81 + 130 + 4);
  EXPECT_EQ(sums.error, 4 + 9 + 9);
  EXPECT_EQ(sums.max_abs_error, 3.0);
  EXPECT_EQ(sums.max_error_index, 9u);
}

TEST_P(EverySimdLevelMeasures, CountsTheIndexFromTheFirstCall) {
  std::vector<float> original(3000, 1.0f);
  std::vector<float> decoded = original;
  decoded[2047] = -1.0f;
  decoded[2050] = -1.0f;
  original[5] = kNan;
  ErrorSums sums;
  accumulate_error(original.data(), decoded.data(), 1001, sums);
  EXPECT_EQ(sums.max_abs_error, 0.0);
  ErrorSums rest;
  accumulate_error(original.data() + 1001, decoded.data() + 1001, original.size() - 1001, rest);
  EXPECT_EQ(rest.max_error_index, 2047u - 1001u);
  sums += rest;
  EXPECT_EQ(sums.max_error_index, 2047u);
  EXPECT_EQ(sums.elements(), original.size());
  EXPECT_EQ(sums.error, 8.0);
}

TEST_P(EverySimdLevelMeasures, DiffersInNoBitFromTheScalarLevel) {
  for (const size_t n :
       {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{1023}, size_t{1024}, size_t{5003}}) {
    const std::vector<float> a = mixed_values(n, 1);
    const std::vector<float> b = mixed_values(n, 2);
    ErrorSums error[2];
    ValueStats stats[2];
    for (int side = 0; side < 2; ++side) {
      ASSERT_TRUE(set_simd_level(side == 0 ? SimdLevel::kScalar : GetParam()));
      accumulate_error(a.data(), b.data(), n, error[side]);
      accumulate_stats(a.data(), n, stats[side]);
    }
    EXPECT_EQ(error[0].count + error[0].non_finite, n);
    EXPECT_TRUE(same_bits(error[0], error[1])) << n;
    EXPECT_TRUE(same_bits(stats[0], stats[1])) << n;
  }
}

TEST_P(EverySimdLevelMeasures, KeepsErrorsThatFloatCannotHold) {
  const float largest = std::numeric_limits<float>::max();
  const float original[9] = {largest};
  const float decoded[9] = {-largest};
  ErrorSums sums;
  accumulate_error(original, decoded, 9, sums);
  EXPECT_EQ(sums.max_abs_error, 2.0 * largest);
  EXPECT_EQ(sums.error, 4.0 * largest * largest);
}

TEST_P(EverySimdLevelMeasures, AddsStatistics) {
  const std::vector<float> values{0.0f, -0.0f, 2, -3, kNan, kInf, -kInf, 4, -0.5f, kNan, 1};
  ValueStats stats;
  accumulate_stats(values.data(), values.size(), stats);
  EXPECT_EQ(stats.count, values.size());
  EXPECT_EQ(stats.zeros, 2u);
  EXPECT_EQ(stats.nans, 2u);
  EXPECT_EQ(stats.infs, 2u);
  EXPECT_EQ(stats.finite(), 7u);
  EXPECT_EQ(stats.min, -3.0f);
  EXPECT_EQ(stats.max, 4.0f);
  EXPECT_EQ(stats.sum, 3.5);
  EXPECT_EQ(stats.abs_sum, 10.5);
  EXPECT_EQ(stats.sum_squares, 30.25);
  accumulate_stats(values.data() + 3, 1, stats);
  EXPECT_EQ(stats.sum, 0.5);
  EXPECT_EQ(stats.count, values.size() + 1);
}

TEST_P(EverySimdLevelMeasures, KnowsNoNegativeZero) {
  const float values[16] = {-0.0f, 0.0f, -0.0f, -0.0f, 0.0f, -0.0f, 0.0f, 0.0f,
                            -0.0f, 0.0f, -0.0f, -0.0f, 0.0f, -0.0f, 0.0f, -0.0f};
  ValueStats stats;
  accumulate_stats(values, 16, stats);
  EXPECT_FALSE(std::signbit(stats.min));
  EXPECT_FALSE(std::signbit(stats.max));
}

TEST_P(EverySimdLevelMeasures, LeavesNothingToSayAboutNoFiniteValues) {
  const std::vector<float> values(20, kNan);
  ValueStats stats;
  accumulate_stats(values.data(), values.size(), stats);
  EXPECT_EQ(stats.min, kInf);
  EXPECT_EQ(stats.max, -kInf);
  EXPECT_EQ(stats.sum, 0.0);
  EXPECT_EQ(stats.finite(), 0u);
}

}  // namespace
}  // namespace lobit::kernels
