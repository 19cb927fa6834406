#include "lobit/convert/recode.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/convert/saturate.h"
#include "lobit/dtype/block.h"
#include "lobit/dtype/half.h"
#include "lobit/quant/quantizer.h"

namespace lobit {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Weights without pattern, from a small generator of our own.
std::vector<float> weights(size_t n) {
  std::vector<float> values(n);
  uint32_t state = 12345;
  for (float& v : values) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(static_cast<int32_t>(state)) * 0x1p-36f;
  }
  return values;
}

std::vector<std::byte> encoded(Encoding to, const std::vector<float>& values) {
  std::vector<std::byte> bytes(*encoded_bytes(to, values.size()));
  if (to == Encoding::kF32) {
    std::memcpy(bytes.data(), values.data(), bytes.size());
  } else {
    reference::encode(to, values.data(), bytes.data(), values.size());
  }
  return bytes;
}

struct Tile {
  std::vector<std::byte> bytes = std::vector<std::byte>(Recoder::kTileBytes);
  Recoder recoder{bytes};
};

TEST(Recoder, EveryPairEqualsDecodeThenEncode) {
  const size_t n = 3 * Recoder::kTileElements + 256;
  const std::vector<float> values = weights(n);
  Tile tile;
  for (const EncodingTraits& from : all_encodings()) {
    if (!from.can_decode || !from.can_encode) continue;
    const std::vector<std::byte> source = encoded(from.encoding, values);
    std::vector<float> decoded(values);
    if (from.encoding != Encoding::kF32) reference::decode(from.encoding, source.data(), decoded.data(), n);
    for (const EncodingTraits& to : all_encodings()) {
      if (!to.can_encode || to.encoding == from.encoding) continue;
      std::vector<std::byte> target(*encoded_bytes(to.encoding, n), std::byte{0xCD});
      tile.recoder.run({from.encoding, to.encoding}, source.data(), target.data(), n);
      EXPECT_TRUE(target == encoded(to.encoding, decoded)) << from.name << " -> " << to.name;
    }
  }
}

TEST(Recoder, EveryMethodEqualsDecodeThenQuantize) {
  const size_t n = 2 * Recoder::kTileElements + 256;
  const std::vector<float> values = weights(n);
  Tile tile;
  for (const Encoding from : {Encoding::kF32, Encoding::kF16, Encoding::kBF16, Encoding::kQ8_0}) {
    const std::vector<std::byte> source = encoded(from, values);
    std::vector<float> decoded(values);
    if (from != Encoding::kF32) reference::decode(from, source.data(), decoded.data(), n);
    for (const Encoding to : {Encoding::kQ4_0, Encoding::kTQ2_0, Encoding::kQ1_0, Encoding::kF16}) {
      for (const QuantizeMethod method : {QuantizeMethod::kScaled, QuantizeMethod::kExact}) {
        if (from == to) continue;
        RecodeSpec spec{from, to};
        spec.method = method;
        std::vector<std::byte> target(*encoded_bytes(to, n), std::byte{0xCD});
        tile.recoder.run(spec, source.data(), target.data(), n);
        std::vector<std::byte> expected(target.size());
        quantizer(to, method)(decoded.data(), expected.data(), n);
        EXPECT_TRUE(target == expected) << encoding_name(from) << " -> " << encoding_name(to);
        EXPECT_EQ(target == encoded(to, decoded), !has_scale_search(to));
      }
    }
  }
}

TEST(Recoder, AbsMeanGivesBitNetsCodes) {
  std::vector<float> values(256);
  const float gamma = 0.25f;
  for (size_t i = 0; i < values.size(); ++i) values[i] = (static_cast<float>(i) - 128.0f) / 256.0f;
  Tile tile;
  BlockTQ2_0 block{};
  tile.recoder.run({Encoding::kF32, Encoding::kTQ2_0, gamma},
                   reinterpret_cast<const std::byte*>(values.data()), reinterpret_cast<std::byte*>(&block),
                   256);
  EXPECT_EQ(block.d, f32_to_f16(gamma));
  std::vector<float> decoded(256);
  reference::decode(Encoding::kTQ2_0, &block, decoded.data(), 256);
  for (size_t i = 0; i < values.size(); ++i) {
    const float code = std::fmin(1.0f, std::fmax(-1.0f, std::nearbyint(values[i] / gamma)));
    EXPECT_EQ(decoded[i], code * gamma) << i;
  }
}

TEST(Recoder, FindsWhatCannotBeStored) {
  std::vector<float> values = weights(Recoder::kTileElements * 2);
  values[5000] = 70000.0f;
  values[6000] = kNan;
  Tile tile;
  const auto* source = reinterpret_cast<const std::byte*>(values.data());
  const auto half =
      tile.recoder.find_unrepresentable({Encoding::kF32, Encoding::kF16}, source, values.size());
  ASSERT_TRUE(half);
  EXPECT_EQ(half->index, 5000u);
  const auto q8 = tile.recoder.find_unrepresentable({Encoding::kF32, Encoding::kQ8_0}, source, values.size());
  ASSERT_TRUE(q8);
  EXPECT_EQ(q8->index, 6000u);
}

TEST(Recoder, SaturatesOnlyWhereAsked) {
  std::vector<float> values = weights(512);
  values[3] = kInf;
  values[300] = 1e6f;
  Tile tile;
  const auto* source = reinterpret_cast<const std::byte*>(values.data());
  std::vector<std::byte> target(*encoded_bytes(Encoding::kF16, values.size()));
  EXPECT_EQ(
      tile.recoder.run({Encoding::kF32, Encoding::kF16}, source, target.data(), 512).encode.unrepresentable,
      1u);
  const RecodeCounts counts =
      tile.recoder.run({Encoding::kF32, Encoding::kF16, {}, true}, source, target.data(), 512);
  EXPECT_EQ(counts.encode.unrepresentable, 0u);
  EXPECT_EQ(counts.saturated, 1u);
  const auto* halves = reinterpret_cast<const uint16_t*>(target.data());
  EXPECT_EQ(f16_to_f32(halves[300]), 65504.0f);
  EXPECT_EQ(f16_to_f32(halves[3]), kInf);
}

TEST(Saturate, LeavesBlocksThatCanBeStored) {
  std::vector<float> values(64, 1.0f);
  values[1] = 500000.0f;  // Q4_1 stores it: the range over 15 fits F16
  values[40] = kNan;
  EXPECT_EQ(saturate(Encoding::kQ4_1, values.data(), 64), 1u);
  EXPECT_EQ(values[1], 500000.0f);
  EXPECT_EQ(values[40], 0.0f);
}

TEST(Saturate, InABlockNaNBecomesZeroAndInfTheLargestFiniteValue) {
  std::vector<float> values(64, 0.5f);
  values[1] = kNan;
  values[2] = -kInf;
  values[3] = 2.0f;
  EXPECT_EQ(saturate(Encoding::kQ8_0, values.data(), 64), 1u);
  EXPECT_EQ(values[1], 0.0f);
  EXPECT_EQ(values[2], -2.0f);
  EXPECT_EQ(values[3], 2.0f);
  EXPECT_EQ(values[40], 0.5f);
}

TEST(Saturate, LeavesAScaleThatEveryEncodingCanStore) {
  for (const EncodingTraits& t : all_encodings()) {
    if (!t.can_encode || !t.is_block()) continue;
    std::vector<float> values(256, -3.4e38f);
    values[0] = 3.4e38f;
    values[100] = kInf;
    values[200] = kNan;
    saturate(t.encoding, values.data(), values.size());
    std::vector<std::byte> blocks(*encoded_bytes(t.encoding, values.size()));
    EXPECT_EQ(reference::encode(t.encoding, values.data(), blocks.data(), values.size()).unrepresentable, 0u)
        << t.name;
  }
}

}  // namespace
}  // namespace lobit
