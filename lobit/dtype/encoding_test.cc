#include "lobit/dtype/encoding.h"

#include <map>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/dtype/block.h"

namespace lobit {
namespace {

using enum Encoding;

TEST(EncodingTable, IsInTheOrderOfTheEnumeration) {
  ASSERT_EQ(all_encodings().size(), static_cast<size_t>(kEncodingCount));
  for (int i = 0; i < kEncodingCount; ++i) {
    const auto encoding = static_cast<Encoding>(i);
    EXPECT_EQ(traits(encoding).encoding, encoding);
    EXPECT_EQ(all_encodings()[static_cast<size_t>(i)].encoding, encoding);
  }
}

TEST(EncodingTable, NoNameOrNumberTwice) {
  std::set<std::string_view> names;
  std::set<std::string_view> safetensors_names;
  std::set<uint32_t> ggml_types;
  for (const EncodingTraits& t : all_encodings()) {
    EXPECT_TRUE(names.insert(t.name).second) << t.name;
    EXPECT_FALSE(t.name.empty());
    if (!t.safetensors_name.empty()) {
      EXPECT_TRUE(safetensors_names.insert(t.safetensors_name).second) << t.name;
    }
    if (t.ggml_type) {
      EXPECT_TRUE(ggml_types.insert(*t.ggml_type).second) << t.name;
    }
    EXPECT_TRUE(t.ggml_type || !t.safetensors_name.empty()) << t.name << " is in no file format";
  }
}

TEST(EncodingTable, BytesAreThoseOfTheBlocks) {
  const std::map<Encoding, size_t> sizes = {
      {kQ8_0, sizeof(BlockQ8_0)}, {kQ4_0, sizeof(BlockQ4_0)},   {kQ4_1, sizeof(BlockQ4_1)},
      {kQ5_0, sizeof(BlockQ5_0)}, {kQ5_1, sizeof(BlockQ5_1)},   {kQ2_0, sizeof(BlockQ2_0)},
      {kQ1_0, sizeof(BlockQ1_0)}, {kTQ2_0, sizeof(BlockTQ2_0)}, {kTQ1_0, sizeof(BlockTQ1_0)},
      {kQ2_K, sizeof(BlockQ2_K)}, {kQ3_K, sizeof(BlockQ3_K)},   {kQ4_K, sizeof(BlockQ4_K)},
      {kQ5_K, sizeof(BlockQ5_K)}, {kQ6_K, sizeof(BlockQ6_K)},   {kQ8_K, sizeof(BlockQ8_K)},
      {kF32, sizeof(float)},      {kF16, sizeof(uint16_t)},     {kBF16, sizeof(uint16_t)}};
  for (const EncodingTraits& t : all_encodings()) {
    const auto size = sizes.find(t.encoding);
    EXPECT_EQ(t.can_decode, size != sizes.end()) << t.name;
    if (size != sizes.end()) {
      EXPECT_EQ(t.block_bytes, size->second) << t.name;
    }
    if (t.can_encode) {
      EXPECT_TRUE(t.can_decode) << t.name;
    }
  }
}

TEST(EncodingTable, BitsPerWeightIncludeTheScales) {
  EXPECT_EQ(traits(kF16).bits_per_weight(), 16);
  EXPECT_EQ(traits(kQ8_0).bits_per_weight(), 8.5);
  EXPECT_EQ(traits(kQ4_0).bits_per_weight(), 4.5);
  EXPECT_EQ(traits(kQ4_1).bits_per_weight(), 5);
  EXPECT_EQ(traits(kQ5_0).bits_per_weight(), 5.5);
  EXPECT_EQ(traits(kQ5_1).bits_per_weight(), 6);
  EXPECT_EQ(traits(kQ2_0).bits_per_weight(), 2.25);
  EXPECT_EQ(traits(kQ1_0).bits_per_weight(), 1.125);
  EXPECT_EQ(traits(kTQ2_0).bits_per_weight(), 2.0625);
  EXPECT_EQ(traits(kTQ1_0).bits_per_weight(), 1.6875);
  EXPECT_EQ(traits(kQ6_K).bits_per_weight(), 6.5625);
}

TEST(EncodingTable, OnlyGroupsWithAScaleAreBlocks) {
  EXPECT_TRUE(traits(kQ8_0).is_block());
  EXPECT_TRUE(traits(kIQ4_NL).is_block());
  EXPECT_FALSE(traits(kF32).is_block());
  EXPECT_FALSE(traits(kRawI8).is_block());
  EXPECT_FALSE(traits(kF6E2M3).is_block());  // four plain numbers in three bytes
}

TEST(ParseEncoding, EveryNameInAnyCase) {
  for (const EncodingTraits& t : all_encodings()) {
    EXPECT_EQ(parse_encoding(t.name), t.encoding) << t.name;
    EXPECT_EQ(encoding_name(t.encoding), t.name);
    std::string upper(t.name);
    for (char& c : upper) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    EXPECT_EQ(parse_encoding(upper), t.encoding) << upper;
  }
}

TEST(ParseEncoding, ADTypeMeansItsDefault) {
  EXPECT_EQ(parse_encoding("i8"), kQ8_0);
  EXPECT_EQ(parse_encoding("I4"), kQ4_0);
  EXPECT_EQ(parse_encoding("i2"), kQ2_0);
  EXPECT_EQ(parse_encoding("i1"), kQ1_0);
  EXPECT_EQ(parse_encoding("BitNet158"), kTQ2_0);
  EXPECT_EQ(default_encoding(DType::kF32), kF32);
  EXPECT_EQ(default_encoding(DType::kF16), kF16);
  EXPECT_EQ(default_encoding(DType::kBF16), kBF16);
  EXPECT_EQ(default_encoding(DType::kBitNet158), kTQ2_0);
}

TEST(ParseEncoding, NothingForOtherNames) {
  for (const char* name : {"", "q8", "q8_0 ", " q8_0", "q8-0", "f31", "int8", "q9_0"}) {
    EXPECT_EQ(parse_encoding(name), std::nullopt) << name;
  }
}

TEST(EncodingFromFile, InvertsTheTable) {
  for (const EncodingTraits& t : all_encodings()) {
    if (t.ggml_type) {
      EXPECT_EQ(encoding_from_ggml(*t.ggml_type), t.encoding) << t.name;
    }
    if (!t.safetensors_name.empty()) {
      EXPECT_EQ(encoding_from_safetensors(t.safetensors_name), t.encoding) << t.name;
    }
  }
  EXPECT_EQ(encoding_from_ggml(4), std::nullopt);  // Q4_2, removed from GGUF
  EXPECT_EQ(encoding_from_ggml(43), std::nullopt);
  EXPECT_EQ(encoding_from_ggml(UINT32_MAX), std::nullopt);
  EXPECT_EQ(encoding_from_safetensors(""), std::nullopt);
  EXPECT_EQ(encoding_from_safetensors("f32"), std::nullopt);
}

TEST(EncodedBytes, CountsWholeBlocks) {
  EXPECT_EQ(encoded_bytes(kQ8_0, 64), 68u);
  EXPECT_EQ(encoded_bytes(kQ8_0, 0), 0u);
  EXPECT_EQ(encoded_bytes(kTQ1_0, 512), 108u);
  EXPECT_EQ(encoded_bytes(kF6E2M3, 8), 6u);
  EXPECT_EQ(encoded_bytes(kF16, 3), 6u);
}

TEST(EncodedBytes, NothingForPartsOfBlocksAndOverflow) {
  EXPECT_EQ(encoded_bytes(kQ8_0, 33), std::nullopt);
  EXPECT_EQ(encoded_bytes(kTQ2_0, 255), std::nullopt);
  EXPECT_EQ(encoded_bytes(kF4, 1), std::nullopt);
  EXPECT_EQ(encoded_bytes(kF64, uint64_t{1} << 61), std::nullopt);
  EXPECT_EQ(encoded_bytes(kF64, (uint64_t{1} << 61) - 1), UINT64_MAX - 7);
}

}  // namespace
}  // namespace lobit
