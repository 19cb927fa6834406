#include "lobit/kernels/normalize.h"

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/kernels/codec_test_support.h"

namespace lobit::kernels {
namespace {

class EverySimdLevelNormalizes : public testing::TestWithParam<SimdLevel> {
 protected:
  void SetUp() override { ASSERT_TRUE(set_simd_level(GetParam())); }
  void TearDown() override { set_simd_level(simd_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Normalize, EverySimdLevelNormalizes,
                         testing::ValuesIn(simd_levels().begin(), simd_levels().end()),
                         [](const auto& level) { return std::string(simd_level_name(level.param)); });

Floats some_values(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  Floats values(n);
  for (float& v : values) v = static_cast<float>(static_cast<int32_t>(random())) * 0x1p-29f;
  return values;
}

// What every kernel gives for `n` values: outputs, then sums.
std::vector<double> results_for(size_t n) {
  const Floats x = some_values(2 * n, 1);
  const Floats a = some_values(n, 2);
  const Floats b = some_values(n, 3);
  std::vector<double> all;
  Floats out(2 * n + 1, std::numeric_limits<float>::quiet_NaN());
  const auto keep = [&](size_t count) {
    for (size_t i = 0; i < count; ++i) all.push_back(static_cast<double>(out[i]));
    EXPECT_TRUE(std::isnan(out[2 * n])) << "written behind the end";
  };
  SumLanes lanes{};
  exp_run(x.data(), n, 1.5f, out.data(), lanes);
  keep(n);
  all.insert(all.end(), lanes.begin(), lanes.end());
  std::vector<double> sums(n, 0.25);
  const size_t rows = n < 7 ? 1 : 1 + n % 7;
  const size_t columns = n / rows;
  add_exp_rows(x.data(), rows, columns + 1, columns, a.data(), sums.data());
  all.insert(all.end(), sums.begin(), sums.end());
  scale_run(x.data(), n, 0.3f, out.data());
  keep(n);
  share_rows(x.data(), rows, columns + 1, columns, a.data(), b.data(), out.data(), Store::kCached);
  keep(n);
  subtract_run(x.data(), n, 0.3f, 0.7f, out.data());
  keep(n);
  subtract_row(x.data(), n, a.data(), b.data(), out.data());
  keep(n);
  normalize_run(x.data(), n, 0.1, 1.7, a.data(), nullptr, out.data());
  keep(n);
  normalize_run(x.data(), n, 0.1, 1.7, a.data(), b.data(), out.data());
  keep(n);
  rotate_neighbours(x.data(), n, a.data(), b.data(), out.data());
  keep(2 * n);
  rotate_halves(x.data(), n, a.data(), b.data(), out.data());
  keep(2 * n);
  return all;
}

TEST_P(EverySimdLevelNormalizes, DiffersInNoBitFromTheScalarLevel) {
  for (size_t n = 0; n < 70; ++n) {
    const std::vector<double> found = results_for(n);
    const AtLevel scalar(SimdLevel::kScalar);
    ASSERT_EQ(found, results_for(n)) << n;
  }
}

TEST_P(EverySimdLevelNormalizes, SharesPastTheCachesAsInThem) {
  constexpr size_t kRows = 6;
  constexpr size_t kColumns = 101;
  constexpr size_t kStride = 112;
  const Floats x = some_values(kRows * kStride, 1);
  const Floats shifts = some_values(kColumns, 2);
  const Floats factors = some_values(kColumns, 3);
  struct alignas(64) Rows {
    std::array<float, kRows * kStride> values{};
  };
  Rows cached;
  Rows past;
  share_rows(x.data(), kRows, kStride, kColumns, shifts.data(), factors.data(), cached.values.data(),
             Store::kCached);
  share_rows(x.data(), kRows, kStride, kColumns, shifts.data(), factors.data(), past.values.data(),
             Store::kPastCaches);
  EXPECT_EQ(cached.values, past.values);
  EXPECT_EQ(cached.values[kColumns], 0.0f) << "written between the rows";
  EXPECT_NEAR(cached.values[kStride + 1], std::exp(x[kStride + 1] - shifts[1]) * factors[1], 1e-4f);
}

TEST_P(EverySimdLevelNormalizes, ComputesWhatTheHeaderSays) {
  const Floats x{1, 2, -std::numeric_limits<float>::infinity(), 4};
  Floats out(4);
  SumLanes lanes{};
  exp_run(x.data(), 4, 4.0f, out.data(), lanes);
  EXPECT_NEAR(out[0], std::exp(-3.0), 1e-8);
  EXPECT_EQ(out[2], 0.0f);
  EXPECT_EQ(out[3], 1.0f);
  EXPECT_EQ(lanes[3], 1.0);
  EXPECT_EQ(lanes[4], 0.0);
  const Floats weights{1, 10, 100, 2};
  const Floats biases{0, 1, 2, 3};
  const Floats values{3, 5, 7, 9};
  normalize_run(values.data(), 4, 1.0, 0.5, weights.data(), biases.data(), out.data());
  EXPECT_EQ(out, (Floats{1, 21, 302, 11}));
  const Floats cosines{0, 0.5f};
  const Floats sines{1, 2};
  rotate_neighbours(values.data(), 2, cosines.data(), sines.data(), out.data());
  EXPECT_EQ(out, (Floats{-5, 3, 3.5f - 18, 14 + 4.5f}));
  out = values;
  rotate_halves(out.data(), 2, cosines.data(), sines.data(), out.data());
  EXPECT_EQ(out, (Floats{-7, 2.5f - 18, 3, 10 + 4.5f}));
}

}  // namespace
}  // namespace lobit::kernels
