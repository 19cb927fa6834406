#include "lobit/dtype/reference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/golden/codec_input.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/dtype/block.h"
#include "lobit/dtype/half.h"

namespace lobit {
namespace {

using enum Encoding;
using reference::decode;
using reference::encode;
using reference::first_invalid_block;
using testing::Each;
using testing::ElementsAre;

constexpr Encoding kBlockEncodings[] = {kQ8_0, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ2_0, kQ1_0, kTQ2_0, kTQ1_0};
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kMax = std::numeric_limits<float>::max();

struct Encoded {
  std::vector<uint8_t> bytes;
  EncodeCounts counts;

  template <typename Block>
  Block as(size_t index = 0) const {
    Block block;
    std::memcpy(&block, bytes.data() + index * sizeof block, sizeof block);
    return block;
  }
};

// Fills the last block up with zeros.
Encoded encode_all(Encoding to, std::vector<float> values) {
  const EncodingTraits& t = traits(to);
  while (values.size() % t.block_elements != 0) values.push_back(0.0f);
  Encoded out{std::vector<uint8_t>(*encoded_bytes(to, values.size())), {}};
  out.counts = encode(to, values.data(), out.bytes.data(), values.size());
  return out;
}

std::vector<float> decode_all(Encoding from, const std::vector<uint8_t>& bytes) {
  const EncodingTraits& t = traits(from);
  std::vector<float> values(bytes.size() / t.block_bytes * t.block_elements, kNan);
  decode(from, bytes.data(), values.data(), values.size());
  return values;
}

std::vector<float> block_of(Encoding encoding, float value) {
  return std::vector<float>(traits(encoding).block_elements, value);
}

std::vector<float> weights(size_t count, uint64_t seed) {
  golden::Words words(seed);
  std::vector<float> values(count);
  for (float& v : values) {
    int sum = -4 * 32768;
    for (int i = 0; i < 4; ++i) sum += words.below(65536);
    v = static_cast<float>(sum) * 0x1p-21f;  // standard deviation 0.018
  }
  return values;
}

bool is_zero(float v) {
  return v == 0.0f;
}

TEST(EncodeQ8_0, RoundsHalvesAwayFromZero) {
  const Encoded e = encode_all(kQ8_0, {127.0f, -127.0f, 0.5f, -0.5f, 1.5f, 2.5f, -2.4999998f, 0.49999997f});
  const auto block = e.as<BlockQ8_0>();
  EXPECT_EQ(block.d, 0x3C00);
  EXPECT_THAT(std::vector<int>(block.qs, block.qs + 9), ElementsAre(127, -127, 1, -1, 2, 3, -2, 0, 0));
}

TEST(EncodeQ8_0, StoresTheScaleRoundedButUsesTheExactOne) {
  // F16 rounds 1 / 127 down: with the stored scale the second code would be 127.
  const auto block = encode_all(kQ8_0, {1.0f, 0.99602f}).as<BlockQ8_0>();
  EXPECT_EQ(block.d, f32_to_f16(1.0f / 127.0f));
  EXPECT_EQ(block.qs[0], 127);
  EXPECT_EQ(block.qs[1], 126);
}

TEST(EncodeQ4_0, FirstLargestMagnitudeGivesScaleAndSign) {
  std::vector<float> x(32, 0.0f);
  x[0] = 1.0f;
  x[3] = 8.0f;
  x[4] = -8.0f;
  x[16] = -2.0f;
  auto block = encode_all(kQ4_0, x).as<BlockQ4_0>();
  EXPECT_EQ(block.d, 0xBC00);    // 8 / -8
  EXPECT_EQ(block.qs[0], 0xA7);  // 1 -> -1 + 8, -2 -> 2 + 8
  EXPECT_EQ(block.qs[3], 0x80);  // 8 -> 0
  EXPECT_EQ(block.qs[4], 0x8F);  // -8 -> 16, cut to 15
  EXPECT_EQ(block.qs[15], 0x88);
  std::swap(x[3], x[4]);
  block = encode_all(kQ4_0, x).as<BlockQ4_0>();
  EXPECT_EQ(block.d, 0x3C00);
  EXPECT_EQ(block.qs[0], 0x69);
}

TEST(EncodeQ4_0, RoundsHalvesUp) {
  const auto block = encode_all(kQ4_0, {-8.0f, 0.5f, -0.5f, 7.5f, -7.5f, 6.499999f}).as<BlockQ4_0>();
  EXPECT_EQ(block.d, 0x3C00);
  EXPECT_THAT(std::vector<int>(block.qs, block.qs + 6), ElementsAre(0x80, 0x89, 0x88, 0x8F, 0x81, 0x8E));
}

TEST(EncodeQ4_1, CodesCountFromTheMinimum) {
  std::vector<float> x(32, -3.0f);
  x[0] = 12.0f;
  x[1] = -2.5f;  // a half: up
  x[17] = -1.6f;
  const auto block = encode_all(kQ4_1, x).as<BlockQ4_1>();
  EXPECT_EQ(block.d, 0x3C00);
  EXPECT_EQ(block.m, 0xC200);
  EXPECT_EQ(block.qs[0], 0x0F);
  EXPECT_EQ(block.qs[1], 0x11);
  EXPECT_EQ(block.qs[2], 0x00);
}

TEST(EncodeMinimum, KeepsTheSignOfTheFirstZero) {
  std::vector<float> x(32, 1.0f);
  x[5] = 0.0f;
  x[6] = -0.0f;
  EXPECT_EQ(encode_all(kQ4_1, x).as<BlockQ4_1>().m, 0x0000);
  EXPECT_EQ(encode_all(kQ5_1, x).as<BlockQ5_1>().m, 0x0000);
  std::swap(x[5], x[6]);
  EXPECT_EQ(encode_all(kQ4_1, x).as<BlockQ4_1>().m, 0x8000);
  EXPECT_EQ(encode_all(kQ5_1, x).as<BlockQ5_1>().m, 0x8000);
}

TEST(EncodeQ5_0, FifthBitsLieInOneLittleEndianWord) {
  std::vector<float> x(32, -1.0f);  // code 15
  x[0] = -16.0f;                    // code 0
  x[9] = 0.0f;                      // code 16
  x[31] = 15.5f;                    // 32, cut to 31
  const auto block = encode_all(kQ5_0, x).as<BlockQ5_0>();
  EXPECT_EQ(block.d, 0x3C00);
  EXPECT_THAT(block.qh, ElementsAre(0x00, 0x02, 0x00, 0x80));
  EXPECT_EQ(block.qs[0], 0xF0);
  EXPECT_EQ(block.qs[9], 0xF0);
  EXPECT_EQ(block.qs[15], 0xFF);
}

TEST(EncodeQ5_1, FifthBitsLieInOneLittleEndianWord) {
  std::vector<float> x(32, 2.0f);
  x[0] = 33.0f;   // code 31
  x[16] = 18.5f;  // 16.5, a half: 17
  const auto block = encode_all(kQ5_1, x).as<BlockQ5_1>();
  EXPECT_EQ(block.d, 0x3C00);
  EXPECT_EQ(block.m, 0x4000);
  EXPECT_THAT(block.qh, ElementsAre(0x01, 0x00, 0x01, 0x00));
  EXPECT_EQ(block.qs[0], 0x1F);
  EXPECT_EQ(block.qs[1], 0x00);
}

TEST(EncodeQ2_0, FourCodesAByteFromTheLowestBits) {
  const auto block = encode_all(kQ2_0, {-2.0f, 0.0f, 2.0f, 0.9f, 1.0f, -1.0f, -0.9f}).as<BlockQ2_0>();
  EXPECT_EQ(block.d, 0x4000);
  EXPECT_EQ(block.qs[0], 0b01'10'01'00);
  EXPECT_EQ(block.qs[1], 0b01'01'00'10);  // halves go away from zero
  EXPECT_EQ(block.qs[15], 0b01'01'01'01);
}

TEST(EncodeQ1_0, ScaleIsTheMeanMagnitudeAndZeroOfEitherSignIsPositive) {
  std::vector<float> x(128, -1.0f);
  x[0] = 3.0f;
  x[9] = 0.0f;
  x[10] = -0.0f;
  const auto block = encode_all(kQ1_0, x).as<BlockQ1_0>();
  EXPECT_EQ(block.d, 0x3C00);  // (3 + 125) / 128
  EXPECT_EQ(block.qs[0], 0x01);
  EXPECT_EQ(block.qs[1], 0x06);
  EXPECT_EQ(block.qs[15], 0x00);
}

TEST(EncodeQ1_0, AddsInOrder) {
  // The mean of the large value alone lies halfway between two halves. Met first it swallows the small ones
  // one by one and the tie goes to even; met last it is added to their sum.
  std::vector<float> x(128, 0x1p-19f);
  x[0] = 0x1.002p7f;
  EXPECT_EQ(encode_all(kQ1_0, x).as<BlockQ1_0>().d, 0x3C00);
  std::swap(x[0], x[127]);
  EXPECT_EQ(encode_all(kQ1_0, x).as<BlockQ1_0>().d, 0x3C01);
}

// A single +1 or -1 among zeros changes one byte, at the place that block.h says.
TEST(EncodeTQ2_0, EveryValueHasItsPlace) {
  for (size_t i = 0; i < 256; ++i) {
    std::vector<float> x(256, 0.0f);
    x[i] = -0.75f;
    const auto block = encode_all(kTQ2_0, x).as<BlockTQ2_0>();
    ASSERT_EQ(block.d, 0x3A00);
    for (size_t j = 0; j < 64; ++j) {
      const bool here = j == i / 128 * 32 + i % 32;
      ASSERT_EQ(block.qs[j], here ? 0x55 - (1 << (i % 128 / 32 * 2)) : 0x55) << i << " " << j;
    }
  }
}

struct Base3Place {
  size_t byte;  // of qs, then qh
  int weight;   // 81, 27, 9, 3, 1
};

Base3Place base3_place(size_t i) {
  constexpr int kWeights[] = {81, 27, 9, 3, 1};
  if (i < 160) return {i % 32, kWeights[i / 32]};
  if (i < 240) return {32 + (i - 160) % 16, kWeights[(i - 160) / 16]};
  return {48 + (i - 240) % 4, kWeights[(i - 240) / 4]};
}

TEST(EncodeTQ1_0, EveryValueHasItsPlace) {
  for (size_t i = 0; i < 256; ++i) {
    std::vector<float> x(256, 0.0f);
    x[i] = 1.0f;
    const Encoded e = encode_all(kTQ1_0, x);
    const Base3Place place = base3_place(i);
    for (size_t j = 0; j < 52; ++j) {
      const int zeros = j < 48 ? 121 : 120;  // 11111 and 11110 in base 3
      const int value = zeros + (j == place.byte ? place.weight : 0);
      ASSERT_EQ(e.bytes[j], (value * 256 + 242) / 243) << i << " " << j;
    }
    EXPECT_EQ(e.as<BlockTQ1_0>().d, 0x3C00);
  }
}

TEST(TQ1_0, DigitsSurviveARoundTrip) {
  golden::Words words(7);
  std::vector<float> x(256 * 50);
  for (float& v : x) v = static_cast<float>(words.below(3) - 1) * 0.375f;
  EXPECT_EQ(decode_all(kTQ1_0, encode_all(kTQ1_0, x).bytes), x);
  EXPECT_EQ(decode_all(kTQ2_0, encode_all(kTQ2_0, x).bytes), x);
}

TEST(Encode, BlocksOfZeros) {
  const auto zeros = [](Encoding e) { return encode_all(e, block_of(e, 0.0f)); };
  EXPECT_THAT(zeros(kQ8_0).bytes, Each(0));
  EXPECT_EQ(zeros(kQ4_0).as<BlockQ4_0>().d, 0x8000);  // 0 / -8
  EXPECT_THAT(zeros(kQ4_0).as<BlockQ4_0>().qs, Each(0x88));
  EXPECT_EQ(zeros(kQ5_0).as<BlockQ5_0>().d, 0x8000);
  EXPECT_THAT(zeros(kQ5_0).as<BlockQ5_0>().qs, Each(0x00));
  EXPECT_THAT(zeros(kQ5_0).as<BlockQ5_0>().qh, Each(0xFF));
  EXPECT_THAT(zeros(kQ4_1).bytes, Each(0));
  EXPECT_THAT(zeros(kQ5_1).bytes, Each(0));
  EXPECT_EQ(zeros(kQ2_0).as<BlockQ2_0>().d, 0);
  EXPECT_THAT(zeros(kQ2_0).as<BlockQ2_0>().qs, Each(0x55));
  EXPECT_EQ(zeros(kQ1_0).as<BlockQ1_0>().d, 0);
  EXPECT_THAT(zeros(kQ1_0).as<BlockQ1_0>().qs, Each(0xFF));
  EXPECT_EQ(zeros(kTQ2_0).as<BlockTQ2_0>().d, 0);
  EXPECT_THAT(zeros(kTQ2_0).as<BlockTQ2_0>().qs, Each(0x55));
  EXPECT_EQ(zeros(kTQ1_0).as<BlockTQ1_0>().d, 0);
  EXPECT_THAT(zeros(kTQ1_0).as<BlockTQ1_0>().qs, Each(0x80));
  EXPECT_THAT(zeros(kTQ1_0).as<BlockTQ1_0>().qh, Each(0x7F));
}

TEST(Encode, ZerosOfEitherSignAreNotCounted) {
  for (const Encoding e : kBlockEncodings) {
    for (const float zero : {0.0f, -0.0f}) {
      const Encoded out = encode_all(e, block_of(e, zero));
      EXPECT_EQ(out.counts.unrepresentable, 0u) << encoding_name(e);
      EXPECT_EQ(out.counts.flushed, 0u) << encoding_name(e);
      EXPECT_TRUE(std::ranges::all_of(decode_all(e, out.bytes), is_zero)) << encoding_name(e);
    }
  }
  EXPECT_EQ(encode_all(kQ4_1, block_of(kQ4_1, -0.0f)).as<BlockQ4_1>().m, 0x8000);
}

TEST(Encode, ConstantsComeBackWithinTheScalesRounding) {
  for (const Encoding e : kBlockEncodings) {
    for (const float c : {1.0f, -1.0f, 0.1f, -3.0f, 1000.0f}) {
      const Encoded out = encode_all(e, block_of(e, c));
      EXPECT_EQ(out.counts.unrepresentable + out.counts.flushed, 0u);
      for (const float w : decode_all(e, out.bytes)) {
        ASSERT_LE(std::fabs(w - c), 0x1p-11f * std::fabs(c)) << encoding_name(e) << " " << c;
      }
    }
  }
}

// Groups too small for a reciprocal: the bytes are those of zeros but for the sign of the scale.
TEST(EncodeTiny, CodesAreThoseOfZerosAndTheGroupIsCounted) {
  for (const Encoding e : kBlockEncodings) {
    if (e == kQ1_0) continue;
    const Encoded zeros = encode_all(e, block_of(e, 0.0f));
    for (const float tiny : {0x1p-149f, 1e-38f, std::nextafter(kTinyGroup, 0.0f)}) {
      std::vector<float> x = block_of(e, 0.0f);
      x[3] = tiny;
      Encoded out = encode_all(e, x);
      EXPECT_EQ(out.counts.flushed, 1u) << encoding_name(e) << " " << tiny;
      EXPECT_EQ(out.counts.unrepresentable, 0u);
      EXPECT_EQ(out.bytes, zeros.bytes) << encoding_name(e) << " " << tiny;
      x[3] = kTinyGroup;
      out = encode_all(e, x);
      EXPECT_EQ(out.counts.flushed, 0u) << encoding_name(e);
      EXPECT_NE(out.bytes, zeros.bytes) << encoding_name(e);
    }
  }
}

TEST(EncodeTiny, TheScaleKeepsItsSign) {
  EXPECT_EQ(encode_all(kQ4_0, {1e-37f}).as<BlockQ4_0>().d, 0x8000);
  EXPECT_EQ(encode_all(kQ4_0, {-1e-37f}).as<BlockQ4_0>().d, 0x0000);
  EXPECT_EQ(encode_all(kQ5_0, {-1e-37f}).as<BlockQ5_0>().d, 0x0000);
  EXPECT_EQ(encode_all(kQ4_1, {-1e-37f}).as<BlockQ4_1>().m, 0x8000);
}

TEST(EncodeTiny, Q1_0KeepsItsSigns) {
  std::vector<float> x(128, 1e-40f);
  x[0] = -1e-40f;
  const Encoded out = encode_all(kQ1_0, x);
  EXPECT_EQ(out.counts.flushed, 0u);
  EXPECT_EQ(out.as<BlockQ1_0>().qs[0], 0xFE);
}

TEST(EncodeTiny, WithAMinimumTheExtentCounts) {
  for (const Encoding e : {kQ4_1, kQ5_1}) {
    std::vector<float> x(32, 1e-30f);
    EXPECT_EQ(encode_all(e, x).counts.flushed, 0u);  // no extent
    x[7] = std::nextafter(1e-30f, 1.0f);             // 7.5e-38 apart
    EXPECT_EQ(encode_all(e, x).counts.flushed, 1u);
    x.assign(32, 6e-37f);
    x[0] = -6e-37f;
    const Encoded out = encode_all(e, x);
    EXPECT_EQ(out.counts.flushed, 0u);
    EXPECT_EQ(out.bytes.back(), 0xFF);
  }
}

TEST(EncodeNotFinite, TheBlockIsThatOfZerosWithAnInfiniteScale) {
  for (const Encoding e : kBlockEncodings) {
    const Encoded zeros = encode_all(e, block_of(e, 0.0f));
    const size_t scale_at = e == kTQ2_0 ? 64 : e == kTQ1_0 ? 52 : 0;
    for (const float bad : {kNan, -kNan, kInf, -kInf}) {
      for (const size_t at : {size_t{0}, size_t{traits(e).block_elements} - 1}) {
        std::vector<float> x = block_of(e, 1.0f);
        x[at] = bad;
        const Encoded out = encode_all(e, x);
        EXPECT_EQ(out.counts.unrepresentable, 1u) << encoding_name(e) << " " << bad;
        EXPECT_EQ(out.counts.flushed, 0u);
        std::vector<uint8_t> expected = zeros.bytes;
        expected[scale_at] = 0x00;
        expected[scale_at + 1] = 0x7C;
        EXPECT_EQ(out.bytes, expected) << encoding_name(e) << " " << bad << " at " << at;
        for (const float w : decode_all(e, out.bytes)) ASSERT_FALSE(std::isfinite(w)) << encoding_name(e);
      }
    }
  }
}

TEST(EncodeNotFinite, OtherBlocksAreAsEver) {
  for (const Encoding e : kBlockEncodings) {
    const size_t n = traits(e).block_elements;
    const size_t bytes = traits(e).block_bytes;
    std::vector<float> x = weights(3 * n, 5);
    const Encoded good = encode_all(e, x);
    x[n] = x[n + 1] = kNan;
    const Encoded out = encode_all(e, x);
    EXPECT_EQ(out.counts.unrepresentable, 1u) << encoding_name(e);
    EXPECT_TRUE(std::equal(good.bytes.begin(), good.bytes.begin() + static_cast<ptrdiff_t>(bytes),
                           out.bytes.begin()));
    EXPECT_TRUE(std::equal(good.bytes.end() - static_cast<ptrdiff_t>(bytes), good.bytes.end(),
                           out.bytes.end() - static_cast<ptrdiff_t>(bytes)));
  }
}

// Each encoding with the factor from its scale to the largest magnitude.
TEST(EncodeOverflow, AScaleOf65520IsTheFirstUnrepresentable) {
  const std::pair<Encoding, float> factors[] = {{kQ8_0, 127.0f}, {kQ4_0, -8.0f}, {kQ5_0, -16.0f},
                                                {kQ2_0, 1.0f},   {kQ1_0, 1.0f},  {kTQ2_0, 1.0f},
                                                {kTQ1_0, 1.0f},  {kQ4_1, 15.0f}, {kQ5_1, 31.0f}};
  for (const auto& [e, factor] : factors) {
    std::vector<float> x = block_of(e, e == kQ1_0 ? 65504.0f : 0.0f);
    x[1] = 65504.0f * factor;
    EXPECT_EQ(encode_all(e, x).counts.unrepresentable, 0u) << encoding_name(e);
    if (e == kQ1_0) x.assign(128, 65520.0f);
    x[1] = 65520.0f * factor;
    const Encoded out = encode_all(e, x);
    EXPECT_EQ(out.counts.unrepresentable, 1u) << encoding_name(e);
    EXPECT_EQ(out.counts.flushed, 0u) << encoding_name(e);
    EXPECT_FALSE(std::isfinite(decode_all(e, out.bytes)[1])) << encoding_name(e);
  }
}

TEST(EncodeOverflow, CodesStayThoseOfTheF32Scale) {
  std::vector<float> x(32, 0.0f);
  x[0] = 127e6f;
  x[1] = -64e6f;
  const auto block = encode_all(kQ8_0, x).as<BlockQ8_0>();
  EXPECT_EQ(block.d, 0x7C00);
  EXPECT_EQ(block.qs[0], 127);
  EXPECT_EQ(block.qs[1], -64);
}

TEST(EncodeOverflow, AMinimumCountsOnce) {
  for (const Encoding e : {kQ4_1, kQ5_1}) {
    EXPECT_EQ(encode_all(e, block_of(e, -65519.0f)).counts.unrepresentable, 0u);
    EXPECT_EQ(encode_all(e, block_of(e, -65520.0f)).counts.unrepresentable, 1u);
    std::vector<float> x = block_of(e, -1e30f);
    x[0] = 1e30f;  // scale and minimum
    EXPECT_EQ(encode_all(e, x).counts.unrepresentable, 1u);
  }
}

TEST(EncodeOverflow, AnExtentThatOverflowsIsLikeInf) {
  for (const Encoding e : {kQ4_1, kQ5_1}) {
    std::vector<float> x = block_of(e, kMax);
    x[0] = -kMax;
    const Encoded out = encode_all(e, x);
    EXPECT_EQ(out.counts.unrepresentable, 1u);
    EXPECT_EQ(out.bytes, encode_all(e, block_of(e, kNan)).bytes);
  }
}

TEST(EncodeOverflow, EveryEncodingTakesTheLargestF32) {
  for (const Encoding e : kBlockEncodings) {
    std::vector<float> x = block_of(e, kMax);
    EXPECT_EQ(encode_all(e, x).counts.unrepresentable, 1u) << encoding_name(e);
    x.back() = -kMax;
    EXPECT_EQ(encode_all(e, x).counts.unrepresentable, 1u) << encoding_name(e);
  }
}

TEST(EncodeHalves, OnlyFiniteValuesThatBecomeInfCount) {
  const std::vector<float> x = {65504.0f, 65520.0f, -1e10f, kInf, -kInf, kNan, kMax, 1.0f};
  Encoded out = encode_all(kF16, x);
  EXPECT_EQ(out.counts.unrepresentable, 3u);
  EXPECT_EQ(out.counts.flushed, 0u);
  const std::vector<uint8_t> f16 = {0xFF, 0x7B, 0x00, 0x7C, 0x00, 0xFC, 0x00, 0x7C,
                                    0x00, 0xFC, 0x00, 0x7E, 0x00, 0x7C, 0x00, 0x3C};
  EXPECT_EQ(out.bytes, f16);
  out = encode_all(kBF16, x);
  EXPECT_EQ(out.counts.unrepresentable, 1u);
  EXPECT_EQ(decode_all(kBF16, out.bytes)[7], 1.0f);
  EXPECT_EQ(decode_all(kBF16, out.bytes)[6], kInf);
}

TEST(EncodeF32, IsACopyOfTheBits) {
  const std::vector<float> x = {1.0f, -0.0f, kInf, std::bit_cast<float>(0x7F800001u), 1e-45f};
  const Encoded out = encode_all(kF32, x);
  EXPECT_EQ(out.counts.unrepresentable, 0u);
  EXPECT_EQ(std::memcmp(out.bytes.data(), x.data(), out.bytes.size()), 0);
  std::vector<float> back(x.size());
  decode(kF32, out.bytes.data(), back.data(), back.size());
  EXPECT_EQ(std::memcmp(back.data(), x.data(), out.bytes.size()), 0);
}

// What was decoded encodes to the same bytes: the scale is exact and every code on its mark.
TEST(Encode, IsIdempotent) {
  const std::vector<float> x = weights(size_t{256} * 200, 11);
  for (const Encoding e : kBlockEncodings) {
    const Encoded once = encode_all(e, x);
    EXPECT_EQ(once.counts.unrepresentable + once.counts.flushed, 0u);
    EXPECT_EQ(encode_all(e, decode_all(e, once.bytes)).bytes, once.bytes) << encoding_name(e);
  }
}

TEST(EncodeQ8_0, ErrsByAtMostHalfAStepAndTheScalesRounding) {
  const std::vector<float> x = weights(size_t{32} * 4000, 3);
  const Encoded out = encode_all(kQ8_0, x);
  const std::vector<float> w = decode_all(kQ8_0, out.bytes);
  double signal = 0;
  double noise = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const float scale = f16_to_f32(out.as<BlockQ8_0>(i / 32).d);
    ASSERT_LE(std::fabs(w[i] - x[i]), 0.5625f * scale) << i;
    signal += double{x[i]} * x[i];
    noise += (double{w[i]} - x[i]) * (double{w[i]} - x[i]);
  }
  EXPECT_GT(10 * std::log10(signal / noise), 40.0);
}

TEST(Encode, CodesDoNotDependOnAPowerOfTwo) {
  const std::vector<float> x = weights(size_t{256} * 20, 4);
  std::vector<float> scaled = x;
  for (float& v : scaled) v *= 1024.0f;
  for (const Encoding e : kBlockEncodings) {
    std::vector<float> w = decode_all(e, encode_all(e, x).bytes);
    for (float& v : w) v *= 1024.0f;
    EXPECT_EQ(decode_all(e, encode_all(e, scaled).bytes), w) << encoding_name(e);
  }
}

TEST(Encode, WritesNothingForNoValues) {
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.can_encode) continue;
    const EncodeCounts counts = encode(t.encoding, nullptr, nullptr, 0);
    EXPECT_EQ(counts.unrepresentable + counts.flushed, 0u) << t.name;
    decode(t.encoding, nullptr, nullptr, 0);
  }
}

TEST(Codec, WorksAtAnyAddress) {
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.can_encode) continue;
    const std::vector<float> x = weights(size_t{2} * t.block_elements, 9);
    const Encoded aligned = encode_all(t.encoding, x);
    std::vector<std::byte> odd_values(x.size() * sizeof(float) + 1);
    std::vector<std::byte> odd_blocks(aligned.bytes.size() + 1);
    std::memcpy(&odd_values[1], x.data(), x.size() * sizeof(float));
    auto* values = reinterpret_cast<float*>(&odd_values[1]);  // NOLINT: what a mapped file may hold
    encode(t.encoding, values, &odd_blocks[1], x.size());
    EXPECT_EQ(std::memcmp(&odd_blocks[1], aligned.bytes.data(), aligned.bytes.size()), 0) << t.name;
    decode(t.encoding, &odd_blocks[1], values, x.size());
    const std::vector<float> expected = decode_all(t.encoding, aligned.bytes);
    EXPECT_EQ(std::memcmp(&odd_values[1], expected.data(), x.size() * sizeof(float)), 0) << t.name;
  }
}

TEST(DecodeTQ2_0, CodeThreeIsTwiceTheScale) {
  BlockTQ2_0 block{};
  block.d = 0x3C00;
  block.qs[33] = 3 << 4;
  std::vector<float> w(256);
  decode(kTQ2_0, &block, w.data(), 256);
  EXPECT_EQ(w[128 + 1 + 64], 2.0f);
  EXPECT_EQ(w[0], -1.0f);
}

TEST(FirstInvalidBlock, FindsCodeThreeOfTQ2_0) {
  const size_t blocks = 5;
  std::vector<uint8_t> bytes = encode_all(kTQ2_0, weights(256 * blocks, 1)).bytes;
  EXPECT_EQ(first_invalid_block(kTQ2_0, bytes.data(), blocks), blocks);
  for (const size_t byte : {size_t{0}, size_t{31}, size_t{63}}) {
    for (int shift = 0; shift < 8; shift += 2) {
      std::vector<uint8_t> bad = bytes;
      bad[66 * 2 + byte] = static_cast<uint8_t>(bad[66 * 2 + byte] | 3 << shift);
      EXPECT_EQ(first_invalid_block(kTQ2_0, bad.data(), blocks), 2u) << byte << " " << shift;
      EXPECT_EQ(first_invalid_block(kTQ2_0, bad.data(), 2), 2u);  // not read
    }
  }
}

TEST(FirstInvalidBlock, ScalesAndBitsOfNeighbouringCodesAreNoCodes) {
  BlockTQ2_0 block{};
  std::ranges::fill(block.qs, uint8_t{0b10'01'10'01});
  block.d = 0xFFFF;
  EXPECT_EQ(first_invalid_block(kTQ2_0, &block, 1), 1u);
}

TEST(FirstInvalidBlock, OtherEncodingsHaveNone) {
  const std::vector<uint8_t> bytes(1024, 0xFF);
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.can_decode || t.encoding == kTQ2_0) continue;
    EXPECT_EQ(first_invalid_block(t.encoding, bytes.data(), 3), 3u) << t.name;
  }
  EXPECT_EQ(first_invalid_block(kTQ2_0, nullptr, 0), 0u);
}

TEST(EncodeCounts, Add) {
  EncodeCounts sum{.unrepresentable = 1, .flushed = 2};
  sum += {.unrepresentable = 3, .flushed = 4};
  EXPECT_EQ(sum.unrepresentable, 4u);
  EXPECT_EQ(sum.flushed, 6u);
}

}  // namespace
}  // namespace lobit
