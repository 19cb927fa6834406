#include "lobit/kernels/reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/kernels/codec_test_support.h"

namespace lobit::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr SumTerm kTerms[] = {SumTerm::kValue, SumTerm::kMagnitude, SumTerm::kSquare,
                              SumTerm::kSquaredDeviation};
constexpr Extreme kExtremes[] = {Extreme::kMin, Extreme::kMax, Extreme::kMaxMagnitude};

class EverySimdLevelReduces : public testing::TestWithParam<SimdLevel> {
 protected:
  void SetUp() override { ASSERT_TRUE(set_simd_level(GetParam())); }
  void TearDown() override { set_simd_level(simd_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Reduce, EverySimdLevelReduces,
                         testing::ValuesIn(simd_levels().begin(), simd_levels().end()),
                         [](const auto& level) { return std::string(simd_level_name(level.param)); });

// Both signs, magnitudes from 2^-30 to 2^30.
Floats wide_values(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  Floats values(n);
  for (float& v : values) {
    v = std::ldexp(static_cast<float>(static_cast<int32_t>(random())) * 0x1p-31f,
                   static_cast<int>(random() % 61) - 30);
  }
  return values;
}

double run_total(SumTerm term, const Floats& values, double center, size_t cut) {
  SumLanes lanes{};
  add_run(term, values.data(), cut, center, lanes);
  add_run(term, values.data() + cut, values.size() - cut, center, lanes);
  return total(lanes);
}

long double exact(SumTerm term, float value, double center) {
  const long double x = value;
  if (term == SumTerm::kMagnitude) return std::fabs(x);
  if (term == SumTerm::kSquare) return x * x;
  if (term == SumTerm::kSquaredDeviation) return (x - center) * (x - center);
  return x;
}

TEST_P(EverySimdLevelReduces, SumsRunsWithinTheStatedBound) {
  for (const size_t n : {size_t{0}, size_t{1}, size_t{15}, size_t{16}, size_t{333}, size_t{5003}}) {
    const Floats values = wide_values(n, static_cast<uint32_t>(n));
    for (const SumTerm term : kTerms) {
      long double sum = 0;
      long double magnitude = 0;
      for (const float v : values) {
        sum += exact(term, v, 0.75);
        magnitude += std::fabs(exact(term, v, 0.75));
      }
      const double found = run_total(term, values, 0.75, 0);
      EXPECT_LE(std::fabs(sum - found), (static_cast<long double>(n) + 3) * 0x1p-53L * magnitude) << n;
    }
  }
}

TEST_P(EverySimdLevelReduces, GivesTheScalarBitsForAnyCutOfARun) {
  const Floats values = wide_values(1003, 7);
  for (const SumTerm term : kTerms) {
    double expected;
    {
      const AtLevel scalar(SimdLevel::kScalar);
      expected = run_total(term, values, 0.1, 0);
    }
    for (const size_t cut : {size_t{0}, size_t{16}, size_t{48}, size_t{992}}) {
      EXPECT_EQ(run_total(term, values, 0.1, cut), expected) << cut;
    }
  }
}

TEST_P(EverySimdLevelReduces, AddsRowsAsTheScalarLevelDoes) {
  for (const size_t columns : {size_t{1}, size_t{7}, size_t{16}, size_t{133}}) {
    constexpr size_t kRows = 11;
    const size_t stride = columns + 3;
    const Floats values = wide_values(kRows * stride, static_cast<uint32_t>(columns));
    for (const SumTerm term : {SumTerm::kValue, SumTerm::kMagnitude, SumTerm::kSquare}) {
      std::vector<double> sums(columns + 1, 0.5);
      add_rows(term, values.data(), kRows, stride, columns, sums.data());
      for (size_t c = 0; c < columns; ++c) {
        double expected = 0.5;
        for (size_t r = 0; r < kRows; ++r) {
          expected += static_cast<double>(exact(term, values[r * stride + c], 0));
        }
        EXPECT_EQ(sums[c], expected);
      }
      EXPECT_EQ(sums[columns], 0.5) << "written behind the end";
    }
  }
}

TEST_P(EverySimdLevelReduces, AddsMomentsAboutAShift) {
  constexpr size_t kColumns = 21;
  constexpr size_t kRows = 6;
  const Floats values = wide_values(kRows * kColumns, 3);
  const Floats shift = wide_values(kColumns, 4);
  std::vector<double> first(kColumns, 1.0);
  std::vector<double> second(kColumns, 2.0);
  add_moments(values.data(), kRows, kColumns, kColumns, shift.data(), first.data(), second.data());
  for (size_t c = 0; c < kColumns; ++c) {
    double sum = 1.0;
    double squares = 2.0;
    for (size_t r = 0; r < kRows; ++r) {
      const double d = static_cast<double>(values[r * kColumns + c]) - static_cast<double>(shift[c]);
      sum += d;
      squares += d * d;
    }
    EXPECT_EQ(first[c], sum);
    EXPECT_EQ(second[c], squares);
  }
}

float expected_extreme(Extreme which, const Floats& values) {
  float best = before_extreme(which);
  for (const float v : values) {
    const float x = which == Extreme::kMaxMagnitude ? std::fabs(v) : v;
    if (std::isnan(best)) break;
    if (std::isnan(x) || (which == Extreme::kMin ? x < best : x > best)) best = x;
  }
  return best;
}

bool same(float a, float b) {
  return a == b || (std::isnan(a) && std::isnan(b));
}

TEST_P(EverySimdLevelReduces, FindsExtremesWhereverTheyAre) {
  for (const size_t n : {size_t{1}, size_t{16}, size_t{64}, size_t{129}, size_t{300}}) {
    Floats values = wide_values(n, static_cast<uint32_t>(n));
    for (size_t at = 0; at < n; ++at) {
      for (const float planted : {0x1p40f, -0x1p41f, kInf, -kInf, kNan, -kNan}) {
        const float before = std::exchange(values[at], planted);
        for (const Extreme which : kExtremes) {
          const float found = extreme_of(which, values.data(), n, before_extreme(which));
          const float expected = expected_extreme(which, values);
          ASSERT_TRUE(same(found, expected)) << n << " " << at << " " << planted;
          if (which == Extreme::kMaxMagnitude) continue;
          const size_t place = find_value(values.data(), n, expected);
          const auto first = std::ranges::find_if(values, [&](float v) { return same(v, expected); });
          ASSERT_EQ(place, static_cast<size_t>(first - values.begin()));
        }
        values[at] = before;
      }
    }
  }
  EXPECT_EQ(find_value(Floats(40, 1.0f).data(), 40, 2.0f), 40u);
  EXPECT_EQ(find_value(Floats{0, -0.0f, 1}.data(), 3, -0.0f), 0u);
  EXPECT_TRUE(std::isnan(extreme_of(Extreme::kMax, Floats(100, 1.0f).data(), 100, kNan)));
  EXPECT_EQ(extreme_of(Extreme::kMax, Floats(100, 1.0f).data(), 100, 2.0f), 2.0f);
}

TEST_P(EverySimdLevelReduces, FindsExtremesAndPlacesOfRows) {
  std::mt19937 random(5);
  for (const size_t columns : {size_t{1}, size_t{16}, size_t{45}}) {
    constexpr size_t kRows = 9;
    Floats values(kRows * columns);
    const float some[] = {0.0f, -0.0f, 1.0f, -1.0f, 2.5f, kInf, -kInf, kNan};
    for (float& v : values) v = some[random() % 60 < 52 ? random() % 5 : random() % 8];
    for (const Extreme which : kExtremes) {
      Floats extremes(columns, before_extreme(which));
      extreme_of_rows(which, values.data(), kRows, columns, columns, extremes.data());
      Floats best(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(columns));
      std::vector<int32_t> places(columns, 0);
      if (which != Extreme::kMaxMagnitude) {
        place_of_rows(which, values.data() + columns, kRows - 1, columns, columns, 1, best.data(),
                      places.data());
      }
      for (size_t c = 0; c < columns; ++c) {
        Floats column(kRows);
        for (size_t r = 0; r < kRows; ++r) column[r] = values[r * columns + c];
        const float expected = expected_extreme(which, column);
        EXPECT_TRUE(same(extremes[c], expected));
        if (which == Extreme::kMaxMagnitude) continue;
        EXPECT_TRUE(same(best[c], expected));
        EXPECT_EQ(static_cast<size_t>(places[c]), find_value(column.data(), kRows, expected));
      }
    }
  }
}

TEST(Settled, KnowsOneZeroAndOneNan) {
  EXPECT_FALSE(std::signbit(settled(-0.0f)));
  EXPECT_FALSE(std::signbit(settled(-kNan)));
  EXPECT_EQ(settled(-2.0f), -2.0f);
}

}  // namespace
}  // namespace lobit::kernels
