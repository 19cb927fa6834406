#include "lobit/quant/planar_scale.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "lobit/dtype/block_codes.h"
#include "lobit/kernels/codec_test_support.h"

namespace lobit {
namespace {

using enum Encoding;
using enum QuantizeMethod;
using kernels::Draw;
using kernels::Floats;

constexpr Encoding kTargets[] = {kQ8_0, kQ4_0, kQ2_0, kTQ2_0};

float direct_scale(Encoding to, const Floats& group) {
  float peak = 0;
  for (const float v : group) {
    if (std::fabs(v) > std::fabs(peak)) peak = v;
  }
  if (to == kQ8_0) return std::fabs(peak) / 127.0f;
  return to == kQ4_0 ? peak / -8.0f : std::fabs(peak);
}

double squared_error(Encoding to, const Floats& group, float scale) {
  const CodeRange range = *code_range(to);
  double sum = 0;
  for (const float v : group) {
    const double code = std::clamp<double>(std::nearbyint(v / scale), range.low, range.high);
    const double error = v - static_cast<double>(scale) * code;
    sum += error * error;
  }
  return sum;
}

TEST(PlanarScale, NoMethodErrsMoreThanTheCheaperOne) {
  for (const Encoding to : kTargets) {
    for (const Draw next : {Draw{kernels::normal}, Draw{kernels::ternary}, Draw{kernels::sparse},
                            Draw{kernels::uniform}, Draw{kernels::coarse}}) {
      for (const size_t count : {size_t{1}, size_t{3}, size_t{64}, size_t{777}, size_t{5000}}) {
        const Floats group = kernels::draw(next, count, static_cast<uint32_t>(count));
        const float direct = direct_scale(to, group);
        if (direct == 0) continue;
        const double at_direct = squared_error(to, group, direct);
        const double at_scaled = squared_error(to, group, planar_scale(to, kScaled, group, direct));
        const double at_exact = squared_error(to, group, planar_scale(to, kExact, group, direct));
        EXPECT_LE(at_scaled, at_direct) << encoding_name(to) << count;
        EXPECT_LE(at_exact, at_scaled * (1 + 1e-6)) << encoding_name(to) << count;  // ties
      }
    }
  }
}

// The error of bell-shaped rows over their energy, which tends to a constant as rows grow: that of the best
// uniform quantizer with so many levels.
TEST(PlanarScale, ReachesTheErrorsOfTheBestUniformQuantizers) {
  const Floats row = kernels::draw(kernels::normal, 8192, 4);
  double energy = 0;
  for (const float v : row) energy += double{v} * v;
  const auto error = [&](Encoding to, QuantizeMethod method) {
    return squared_error(to, row, planar_scale(to, method, row, direct_scale(to, row))) / energy;
  };
  for (const QuantizeMethod method : {kScaled, kExact}) {
    EXPECT_LT(error(kQ4_0, method), 0.0117);
    EXPECT_LT(error(kQ2_0, method), 0.145);  // no sign has the better side
    EXPECT_LT(error(kTQ2_0, method), 0.191);
    EXPECT_LE(error(kQ8_0, method), error(kQ8_0, kDirect));
  }
  EXPECT_GT(error(kQ4_0, kDirect), 0.013);
  EXPECT_GT(error(kTQ2_0, kDirect), 0.6);
}

TEST(PlanarScale, IsTheSameAtEverySimdLevel) {
  for (const Encoding to : kTargets) {
    for (const size_t count : {size_t{5}, size_t{64}, size_t{999}, size_t{5003}}) {
      const Floats group = kernels::draw(kernels::normal, count, static_cast<uint32_t>(count));
      for (const QuantizeMethod method : {kScaled, kExact}) {
        const float scale = planar_scale(to, method, group, direct_scale(to, group));
        for (const SimdLevel level : simd_levels()) {
          const kernels::AtLevel at(level);
          EXPECT_EQ(planar_scale(to, method, group, direct_scale(to, group)), scale)
              << simd_level_name(level) << encoding_name(to) << count;
        }
      }
    }
  }
}

// Whatever scale and codes a group has, its values come back: also with a peak below the last code.
TEST(PlanarScale, KeepsValuesThatItCanRepresent) {
  kernels::Random random(3);
  for (const Encoding to : kTargets) {
    const CodeRange range = *code_range(to);
    for (unsigned round = 0; round < 200; ++round) {
      const float scale =
          (range.is_symmetric() || round % 2 == 0 ? 1.0f : -1.0f) *
          std::ldexp(1.0f + std::fabs(kernels::uniform(random)), static_cast<int>(round % 40) - 20);
      const int high = 1 + static_cast<int>(random() % static_cast<unsigned>(range.high));
      const int low = high < range.high ? -std::min(high, -range.low) : range.low;
      Floats group(64);
      for (float& v : group) {
        v = scale *
            static_cast<float>(low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1)));
      }
      const float direct = direct_scale(to, group);
      if (direct == 0) continue;
      for (const QuantizeMethod method : {kScaled, kExact}) {
        const float found = planar_scale(to, method, group, direct);
        for (const float v : group) {
          const float code = std::nearbyint(v / found);
          EXPECT_EQ(code * found, v) << encoding_name(to) << " scale " << scale;
          EXPECT_TRUE(code >= static_cast<float>(range.low) && code <= static_cast<float>(range.high));
        }
      }
    }
  }
}

TEST(PlanarScale, OfTernaryValuesIsTheirMagnitude) {
  Floats values(300, 0.0f);
  for (size_t i = 0; i < values.size(); i += 7) values[i] = i % 2 == 0 ? 0.3f : -0.3f;
  for (const Encoding to : {kQ2_0, kTQ2_0}) {
    for (const QuantizeMethod method : {kScaled, kExact}) {
      EXPECT_EQ(planar_scale(to, method, values, 0.3f), 0.3f);
    }
  }
}

TEST(PlanarScale, IsTheDirectOneWhereNothingCanBeFound) {
  Floats group = kernels::draw(kernels::normal, 100, 3);
  EXPECT_EQ(planar_scale(kQ4_0, kDirect, group, 0.5f), 0.5f);
  EXPECT_EQ(planar_scale(kQ1_0, kExact, group, 0.5f), 0.5f);
  EXPECT_EQ(planar_scale(kQ4_0, kExact, {}, 0.5f), 0.5f);
  EXPECT_EQ(planar_scale(kQ4_0, kExact, Floats(4), 0.0f), 0.0f);
  EXPECT_EQ(planar_scale(kQ8_0, kScaled, Floats(4, 1e-37f), 1e-39f), 1e-39f);
  for (const float special : {NAN, INFINITY}) {
    group[50] = special;
    EXPECT_EQ(planar_scale(kQ4_0, kExact, group, 0.5f), 0.5f);
  }
}

}  // namespace
}  // namespace lobit
