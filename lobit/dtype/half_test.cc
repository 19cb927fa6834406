#include "lobit/dtype/half.h"

#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace lobit {
namespace {

float from_bits(uint32_t bits) {
  return std::bit_cast<float>(bits);
}
uint32_t bits_of(float value) {
  return std::bit_cast<uint32_t>(value);
}

constexpr float kInf = std::numeric_limits<float>::infinity();

// The value of a half from its fields, in double, which holds every half and every midpoint of two exactly.
double f16_value(unsigned half) {
  const int exponent = static_cast<int>(half >> 10 & 0x1F);
  const double mantissa = half & 0x3FF;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(F16, EveryPatternSurvivesARoundTrip) {
  for (unsigned h = 0; h <= 0xFFFF; ++h) {
    const auto half = static_cast<uint16_t>(h);
    const bool nan = (h & 0x7FFF) > 0x7C00;
    // A signalling NaN becomes quiet; every other pattern stays.
    ASSERT_EQ(f32_to_f16(f16_to_f32(half)), nan ? half | 0x0200 : half) << h;
  }
}

TEST(F16, EveryFinitePatternHasTheValueOfItsFields) {
  for (unsigned h = 0; h <= 0xFFFF; ++h) {
    if ((h & 0x7C00) == 0x7C00) continue;
    const float value = f16_to_f32(static_cast<uint16_t>(h));
    ASSERT_EQ(static_cast<double>(value), f16_value(h)) << h;
    ASSERT_EQ(std::signbit(value), (h & 0x8000) != 0) << h;
  }
}

// Between neighbours the midpoint goes to the even one and everything else to the nearer.
TEST(F16, RoundsToNearestAndTiesToEven) {
  for (unsigned h = 0; h < 0x7BFF; ++h) {
    const auto middle = static_cast<float>((f16_value(h) + f16_value(h + 1)) / 2);
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 0.0f)), h);
    ASSERT_EQ(f32_to_f16(middle), h + (h & 1));
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, kInf)), h + 1);
    ASSERT_EQ(f32_to_f16(-middle), 0x8000 + h + (h & 1));
  }
}

TEST(F16, OverflowsFrom65520On) {
  EXPECT_EQ(f32_to_f16(65504.0f), 0x7BFF);
  EXPECT_EQ(f32_to_f16(std::nextafter(65520.0f, 0.0f)), 0x7BFF);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7C00);
  EXPECT_EQ(f32_to_f16(-65520.0f), 0xFC00);
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::max()), 0x7C00);
  EXPECT_EQ(f32_to_f16(kInf), 0x7C00);
  EXPECT_EQ(f32_to_f16(-kInf), 0xFC00);
}

TEST(F16, KeepsTheSignOfZeroAndOfWhatUnderflows) {
  EXPECT_EQ(f32_to_f16(0.0f), 0x0000);
  EXPECT_EQ(f32_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(f32_to_f16(-0x1p-25f), 0x8000);
  EXPECT_EQ(f32_to_f16(from_bits(1)), 0x0000);
  EXPECT_EQ(bits_of(f16_to_f32(0x8000)), 0x80000000u);
}

TEST(F16, NanStaysNanWithSignAndUpperPayload) {
  EXPECT_EQ(f32_to_f16(from_bits(0x7F800001)), 0x7E00);  // signalling, payload below the half's bits
  EXPECT_EQ(f32_to_f16(from_bits(0xFFC00000)), 0xFE00);
  EXPECT_EQ(f32_to_f16(from_bits(0x7FFFFFFF)), 0x7FFF);
  EXPECT_EQ(f32_to_f16(from_bits(0x7FA02000)), 0x7F01);
  EXPECT_EQ(bits_of(f16_to_f32(0x7C01)), 0x7FC02000u);
  EXPECT_EQ(bits_of(f16_to_f32(0xFFFF)), 0xFFFFE000u);
}

TEST(Bf16, EveryPatternSurvivesARoundTrip) {
  for (unsigned h = 0; h <= 0xFFFF; ++h) {
    const auto half = static_cast<uint16_t>(h);
    ASSERT_EQ(bits_of(bf16_to_f32(half)), h << 16);
    const bool nan = (h & 0x7FFF) > 0x7F80;
    ASSERT_EQ(f32_to_bf16(bf16_to_f32(half)), nan ? half | 0x0040 : half) << h;
  }
}

TEST(Bf16, RoundsToNearestAndTiesToEven) {
  for (uint32_t h = 0; h < 0x7F80; ++h) {  // the last midpoint lies between the largest finite value and Inf
    const uint32_t middle = h << 16 | 0x8000;
    ASSERT_EQ(f32_to_bf16(from_bits(middle - 1)), h);
    ASSERT_EQ(f32_to_bf16(from_bits(middle)), h + (h & 1));
    ASSERT_EQ(f32_to_bf16(from_bits(middle + 1)), h + 1);
    ASSERT_EQ(f32_to_bf16(from_bits(0x80000000 | middle)), 0x8000 + h + (h & 1));
  }
}

TEST(Bf16, KeepsInfinityZeroAndNan) {
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7F80);
  EXPECT_EQ(f32_to_bf16(kInf), 0x7F80);
  EXPECT_EQ(f32_to_bf16(-kInf), 0xFF80);
  EXPECT_EQ(f32_to_bf16(-0.0f), 0x8000);
  EXPECT_EQ(f32_to_bf16(from_bits(0x7F800001)), 0x7FC0);
  EXPECT_EQ(f32_to_bf16(from_bits(0xFFFFFFFF)), 0xFFFF);  // rounding up would wrap to +0
  EXPECT_EQ(f32_to_bf16(from_bits(0x7FA10000)), 0x7FE1);
}

TEST(Bf16, OneIsNotTheBitsOfF16One) {
  EXPECT_EQ(f32_to_bf16(f16_to_f32(0x3C00)), 0x3F80);
  EXPECT_EQ(f32_to_f16(bf16_to_f32(0x3F80)), 0x3C00);
}

}  // namespace
}  // namespace lobit
