#include "lobit/tensor/random_options.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/tensor/tensor_test_support.h"

namespace lobit {
namespace {

std::vector<float> drawn(const RandomOptions& options, size_t count, uint64_t first = 0) {
  std::vector<float> values(count);
  fill_random(options, first, values.data(), count);
  return values;
}

struct Moments {
  double mean = 0;
  double deviation = 0;
};

Moments moments(const std::vector<float>& values) {
  double sum = 0;
  double squares = 0;
  for (const float v : values) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const auto n = static_cast<double>(values.size());
  return {sum / n, std::sqrt(squares / n - sum * sum / n / n)};
}

TEST(Random, UniformValuesFillTheirRange) {
  const std::vector<float> values = drawn({.seed = 1, .low = 2.0f, .high = 5.0f}, 100'000);
  for (const float v : values) {
    ASSERT_GE(v, 2.0f);
    ASSERT_LT(v, 5.0f);
  }
  EXPECT_NEAR(moments(values).mean, 3.5, 0.01);
  EXPECT_NEAR(moments(values).deviation, 3.0 / std::sqrt(12.0), 0.01);
  EXPECT_EQ(drawn({.low = 2.0f, .high = 2.0f}, 3), std::vector<float>(3, 2.0f));
  // Rounding never reaches the upper limit.
  const float next = std::nextafterf(1.0f, 2.0f);
  for (const float v : drawn({.low = 1.0f, .high = next}, 1000)) ASSERT_EQ(v, 1.0f);
  const float most = std::numeric_limits<float>::max();
  for (const float v : drawn({.low = -most, .high = most}, 1000)) ASSERT_TRUE(std::isfinite(v));
}

TEST(Random, NormalValuesHaveTheirShape) {
  const RandomOptions options{
      .seed = 2, .distribution = Distribution::kNormal, .mean = 1.0f, .deviation = 2.0f};
  const std::vector<float> values = drawn(options, 200'000);
  EXPECT_NEAR(moments(values).mean, 1.0, 0.02);
  EXPECT_NEAR(moments(values).deviation, 2.0, 0.02);
  // The shares within 1, 2 and 3 deviations, and none beyond 4.5.
  for (const auto& [width, share] :
       {std::pair{1.0, 0.682689}, {2.0, 0.954500}, {3.0, 0.997300}, {4.5, 1.0}}) {
    double within = 0;
    for (const float v : values) within += std::fabs(v - 1.0) <= 2.0 * width;
    EXPECT_NEAR(within / 200'000, share, width > 4 ? 0.0 : 0.004);
  }
}

// Quantiles of the distribution to ten digits, from tables.
TEST(Random, NormalQuantilesAreThoseOfTables) {
  std::vector<float> values = drawn({.seed = 3, .distribution = Distribution::kNormal}, 400'000);
  std::ranges::sort(values);
  EXPECT_NEAR(values[300'000], 0.6744897502, 0.01);
  EXPECT_NEAR(values[390'000], 1.9599639845, 0.02);
  EXPECT_NEAR(values[398'000], 2.5758293035, 0.03);
  EXPECT_NEAR(values[1'000], -2.8070337683, 0.04);
}

TEST(Random, IsAFunctionOfSeedAndIndex) {
  for (const Distribution distribution : {Distribution::kUniform, Distribution::kNormal}) {
    const RandomOptions options{.seed = 5, .distribution = distribution};
    const std::vector<float> whole = drawn(options, 100);
    for (const size_t first : {size_t{0}, size_t{1}, size_t{6}, size_t{99}}) {
      const std::vector<float> part = drawn(options, 100 - first, first);
      EXPECT_EQ(part, std::vector<float>(whole.begin() + static_cast<ptrdiff_t>(first), whole.end()));
    }
    EXPECT_NE(drawn({.seed = 6, .distribution = distribution}, 100), whole);
    EXPECT_NE(drawn({.seed = uint64_t{5} << 32, .distribution = distribution}, 100), whole);
  }
}

// The same bits on every machine: the first words of Philox with the key 42 as fractions of 2^32, and the
// quantiles that they are, which another program computed.
TEST(Random, HasKnownValues) {
  EXPECT_THAT(drawn({.seed = 42, .low = 0.0f, .high = 1.0f}, 3),
              testing::ElementsAre(0x1.39d5ep-1f, 0x1.dfd524p-2f, 0x1.2bf50ap-4f));
  const std::vector<float> normal = drawn({.seed = 42, .distribution = Distribution::kNormal}, 3);
  EXPECT_THAT(normal, testing::ElementsAre(0x1.25ee5p-2f, -0x1.42dc66p-4f, -0x1.73bf44p+0f));
  EXPECT_NEAR(normal[0], 0.2870419004, 1e-6);
  EXPECT_NEAR(normal[1], -0.0788234689, 1e-6);
  EXPECT_NEAR(normal[2], -1.4521371468, 1e-6);
}

TEST(Random, RefusesWhatIsNoDistribution) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const auto refused = fails_with(ErrorCode::kInvalidArgument);
  EXPECT_THAT(check_random_options({.low = 2.0f, .high = 1.0f}), refused);
  EXPECT_THAT(check_random_options({.low = -kInf, .high = 1.0f}), refused);
  EXPECT_THAT(check_random_options({.low = kNan, .high = 1.0f}), refused);
  EXPECT_THAT(check_random_options({.distribution = Distribution::kNormal, .deviation = -1.0f}), refused);
  EXPECT_THAT(check_random_options({.distribution = Distribution::kNormal, .mean = kNan}), refused);
  SystemResource memory;
  EXPECT_THAT(Tensor::random(shape_of({4}), DType::kF32, memory, {.low = 1.0f, .high = 0.0f}), refused);
}

TEST(Random, FillsATensorInOrder) {
  SystemResource memory;
  const RandomOptions options{.seed = 7, .distribution = Distribution::kNormal, .deviation = 0.02f};
  const Tensor tensor = *Tensor::random(shape_of({3, 3000}), DType::kF32, memory, options);
  EXPECT_EQ(values_of(tensor), drawn(options, 9000));
  const Tensor rows =
      *Tensor::random(shape_of({3, 3000}), ValueFormat{Encoding::kQ8_0, ScaleGroup::kRow}, memory, options);
  const Tensor same = *Tensor::from_values(drawn(options, 9000), shape_of({3, 3000}), rows.format(), memory);
  EXPECT_TRUE(std::ranges::equal(rows.bytes().value(), same.bytes().value()));
}

}  // namespace
}  // namespace lobit
