// What the general codec tests do not reach in the encodings of one and two bits: thresholds next to one half
// of the scale, every digit pattern, the order of Q1_0's sum, invalid codes.
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/dtype/block.h"
#include "lobit/dtype/half.h"
#include "lobit/kernels/codec.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

using enum Encoding;

class EveryLevel : public testing::TestWithParam<SimdLevel> {
 protected:
  void SetUp() override { ASSERT_TRUE(set_simd_level(GetParam())); }
  void TearDown() override { set_simd_level(simd_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(LowBit, EveryLevel, testing::ValuesIn(simd_levels().begin(), simd_levels().end()),
                         [](const auto& level) { return std::string(simd_level_name(level.param)); });

std::vector<uint8_t> encoded(Encoding from, Encoding to, const void* values, size_t count) {
  std::vector<uint8_t> blocks(static_cast<size_t>(encoded_bytes(to, count).value()));
  encoder(from, to)(values, blocks.data(), count);
  return blocks;
}

std::vector<uint8_t> by_reference(Encoding to, const std::vector<float>& values) {
  std::vector<uint8_t> blocks(static_cast<size_t>(encoded_bytes(to, values.size()).value()));
  reference::encode(to, values.data(), blocks.data(), values.size());
  return blocks;
}

constexpr Encoding kTernary[] = {kTQ2_0, kTQ1_0, kQ2_0};

// Groups of 64 whose largest magnitude is random, with all others within four units of its half.
TEST_P(EveryLevel, DecidesEveryFloatNextToTheThreshold) {
  std::mt19937 random(3);
  std::vector<float> values;
  while (values.size() < 64 * 4096) {
    // From 1e-36 to 65504, mantissas of all kinds.
    const uint32_t peak = 0x03AA2425u + static_cast<uint32_t>(random()) % (0x477FE000u - 0x03AA2425u);
    const auto half = std::bit_cast<uint32_t>(0.5f * std::bit_cast<float>(peak));
    for (uint32_t i = 0; i < 256; ++i) {
      const auto offset = static_cast<uint32_t>(random() % 9);
      const auto sign = static_cast<uint32_t>(random() % 2) << 31;
      values.push_back(std::bit_cast<float>((i % 64 == 0 ? peak : half + offset - 4) | sign));
    }
  }
  for (const Encoding to : kTernary) {
    EXPECT_TRUE(encoded(kF32, to, values.data(), values.size()) == by_reference(to, values))
        << encoding_name(to);
  }
}

// For every finite positive half as the scale, the halves around its half.
TEST_P(EveryLevel, DecidesEveryHalfNextToTheThreshold) {
  for (const Encoding from : {kF16, kBF16}) {
    const auto value = from == kF16 ? f16_to_f32 : bf16_to_f32;
    const auto half_of = from == kF16 ? f32_to_f16 : f32_to_bf16;
    std::vector<uint16_t> halves;
    std::vector<float> values;
    for (uint32_t peak = 1; peak < (from == kF16 ? 0x7C00u : 0x7F80u); ++peak) {
      const uint32_t middle = half_of(0.5f * value(static_cast<uint16_t>(peak)));
      for (uint32_t i = 0; i < 64; ++i) {
        uint32_t bits = middle + i % 5 < 2 ? 0u : middle + i % 5 - 2;
        if (i == 63) bits = peak;
        if (i % 2 == 1) bits |= 0x8000u;
        halves.push_back(static_cast<uint16_t>(bits));
        values.push_back(value(halves.back()));
      }
    }
    while (values.size() % 256 != 0) {
      halves.push_back(0);
      values.push_back(0.0f);
    }
    for (const Encoding to : kTernary) {
      EXPECT_TRUE(encoded(from, to, halves.data(), halves.size()) == by_reference(to, values))
          << encoding_name(from) << " -> " << encoding_name(to);
    }
  }
}

// Each of the 243 values of five digits in every byte of a block, written and read back.
TEST_P(EveryLevel, WritesEveryPatternOfBase3Digits) {
  for (int pattern = 0; pattern < 243; ++pattern) {
    int digits[5];
    for (int n = 4, rest = pattern; n >= 0; --n, rest /= 3) digits[n] = rest % 3;
    std::vector<float> values(256);
    for (size_t i = 0; i < 256; ++i) {
      const size_t n = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
      values[i] = 0.5f * static_cast<float>(digits[n] - 1);
    }
    const std::vector<uint8_t> block = encoded(kF32, kTQ1_0, values.data(), 256);
    const int four = pattern / 3 * 3;  // the last bytes have no fifth digit
    EXPECT_EQ(block[0], (pattern * 256 + 242) / 243);
    EXPECT_EQ(block[47], (pattern * 256 + 242) / 243);
    EXPECT_EQ(block[51], (four * 256 + 242) / 243);
    std::vector<float> back(256);
    decoder(kTQ1_0)(block.data(), back.data(), 256);
    EXPECT_EQ(back, values) << pattern;
  }
}

// 1 + 2^-11 is halfway between two F16. Added to it one by one, values of 2^-25 are lost and the tie goes
// down; summed before it they tip it up. The scale is the sum / 128, which only changes the exponent.
TEST_P(EveryLevel, SumsQ1InTheOrderOfTheValues) {
  constexpr size_t kGroups = 37;  // no multiple of any vector
  for (size_t place = 0; place < 128; ++place) {
    std::vector<float> values(128 * kGroups, 0x1p-25f);
    for (size_t g = 0; g < kGroups; ++g) values[128 * g + (place + g) % 128] = -0x1.002p0f;
    const std::vector<uint8_t> blocks = encoded(kF32, kQ1_0, values.data(), values.size());
    EXPECT_TRUE(blocks == by_reference(kQ1_0, values)) << place;
    uint16_t scale;
    std::memcpy(&scale, blocks.data() + offsetof(BlockQ1_0, d), sizeof(scale));
    if (place == 0 || place == 127) {
      EXPECT_EQ(scale, f32_to_f16(0x1p-7f) + (place == 0 ? 0 : 1));
    }
  }
  std::mt19937 random(8);
  std::vector<float> values(size_t{128} * 2000);
  for (float& v : values)
    v = std::ldexp(static_cast<float>(random()) * 0x1p-31f - 1.0f, -static_cast<int>(random() % 12));
  EXPECT_TRUE(encoded(kF32, kQ1_0, values.data(), values.size()) == by_reference(kQ1_0, values));
}

TEST_P(EveryLevel, StoresNegativeZeroAsPositive) {
  const std::vector<float> values(128, -0.0f);
  const std::vector<uint8_t> block = encoded(kF32, kQ1_0, values.data(), values.size());
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(block[offsetof(BlockQ1_0, qs) + i], 0xFF);
}

TEST_P(EveryLevel, FindsTheFirstInvalidBlock) {
  constexpr size_t kBlocks = 83;
  std::vector<uint8_t> valid(kBlocks * sizeof(BlockTQ2_0));
  for (size_t i = 0; i < valid.size(); ++i) {
    // Fields 2, 1, 0, 2: bits of neighbours touch, but no field is 3. Scales are all ones.
    valid[i] = i % sizeof(BlockTQ2_0) < 64 ? 0b10'01'00'10 : 0xFF;
  }
  EXPECT_EQ(first_invalid_block(kTQ2_0, valid.data(), kBlocks), kBlocks);
  EXPECT_EQ(first_invalid_block(kTQ2_0, valid.data(), 0), 0u);
  EXPECT_EQ(first_invalid_block(kTQ1_0, valid.data(), 7), 7u);
  for (size_t block = 0; block < kBlocks; block += 3) {
    for (const size_t byte : {size_t{0}, size_t{17}, size_t{63}}) {
      for (int shift = 0; shift < 8; shift += 2) {
        std::vector<uint8_t> blocks = valid;
        blocks[block * sizeof(BlockTQ2_0) + byte] |= static_cast<uint8_t>(3 << shift);
        ASSERT_EQ(first_invalid_block(kTQ2_0, blocks.data(), kBlocks), block) << byte << " " << shift;
      }
    }
  }
}

}  // namespace
}  // namespace lobit::kernels
