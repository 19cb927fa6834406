#include "lobit/format/metadata.h"

#include <cstring>
#include <limits>

#include <gtest/gtest.h>

namespace lobit {
namespace {

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

template <typename T>
MetadataValue number(MetadataType type, T value) {
  return {.type = type, .bytes = raw(value)};
}

MetadataValue strings(std::initializer_list<std::string_view> texts) {
  MetadataValue value{.type = MetadataType::kArray, .element = MetadataType::kString, .count = texts.size()};
  for (const std::string_view text : texts) value.bytes.append(raw<uint64_t>(text.size())).append(text);
  return value;
}

TEST(MetadataValue, HoldsLittleEndianBytes) {
  EXPECT_EQ(MetadataValue::u16(0x0102).bytes, std::string("\x02\x01", 2));
  EXPECT_EQ(MetadataValue::u32(0x01020304).bytes, std::string("\x04\x03\x02\x01", 4));
  EXPECT_EQ(MetadataValue::i32(-2).bytes, std::string("\xfe\xff\xff\xff", 4));
  EXPECT_EQ(MetadataValue::boolean(true).bytes, std::string("\x01", 1));
  EXPECT_EQ(MetadataValue::string("ab").bytes, "ab");
  EXPECT_EQ(MetadataValue::i32(1).type, MetadataType::kI32);
}

TEST(MetadataValue, AsUnsignedTakesEveryWidth) {
  EXPECT_EQ(number<uint8_t>(MetadataType::kU8, 200).as_unsigned(), 200u);
  EXPECT_EQ(number<int8_t>(MetadataType::kI8, 100).as_unsigned(), 100u);
  EXPECT_EQ(MetadataValue::u16(65535).as_unsigned(), 65535u);
  EXPECT_EQ(number<int16_t>(MetadataType::kI16, 5).as_unsigned(), 5u);
  EXPECT_EQ(MetadataValue::u32(0xffffffff).as_unsigned(), 0xffffffffu);
  EXPECT_EQ(MetadataValue::i32(7).as_unsigned(), 7u);
  EXPECT_EQ(number(MetadataType::kU64, ~uint64_t{0}).as_unsigned(), ~uint64_t{0});
  EXPECT_EQ(number(MetadataType::kI64, int64_t{9}).as_unsigned(), 9u);
}

TEST(MetadataValue, AsUnsignedRefusesTheRest) {
  EXPECT_EQ(MetadataValue::i32(-1).as_unsigned(), std::nullopt);
  EXPECT_EQ(number(MetadataType::kI64, std::numeric_limits<int64_t>::min()).as_unsigned(), std::nullopt);
  EXPECT_EQ(number(MetadataType::kF32, 1.0f).as_unsigned(), std::nullopt);
  EXPECT_EQ(MetadataValue::boolean(true).as_unsigned(), std::nullopt);
  EXPECT_EQ(MetadataValue::string("1").as_unsigned(), std::nullopt);
  EXPECT_EQ((MetadataValue{.type = MetadataType::kU32, .bytes = "ab"}).as_unsigned(), std::nullopt);
}

TEST(MetadataValue, AsStringIsForStringsAlone) {
  EXPECT_EQ(MetadataValue::string("llama").as_string(), "llama");
  EXPECT_EQ(MetadataValue::u32(1).as_string(), std::nullopt);
}

TEST(MetadataValue, ReadsWellAsText) {
  EXPECT_EQ(number<uint8_t>(MetadataType::kU8, 200).to_string(), "200");
  EXPECT_EQ(number<int8_t>(MetadataType::kI8, -3).to_string(), "-3");
  EXPECT_EQ(number(MetadataType::kF32, 1e-5f).to_string(), "1e-05");
  EXPECT_EQ(number(MetadataType::kF64, 0.1).to_string(), "0.1");
  EXPECT_EQ(MetadataValue::boolean(false).to_string(), "false");
  EXPECT_EQ(MetadataValue::string("Llama 3 \xc3\xa9").to_string(), "Llama 3 \xc3\xa9");
  EXPECT_EQ(strings({"a", "b"}).to_string(), R"(["a", "b"])");
  EXPECT_EQ(strings({}).to_string(), "[]");
}

TEST(MetadataValue, TextIsCutAtTheLimit) {
  EXPECT_EQ(MetadataValue::string("abcdefgh").to_string(4), "abcd...");
  MetadataValue many{.type = MetadataType::kArray, .element = MetadataType::kU32, .count = 32000};
  for (uint32_t i = 0; i < 32000; ++i) many.bytes += raw(i);
  EXPECT_EQ(many.to_string(12), "[0, 1, 2, 3, ... 32000 u32s]");
  EXPECT_EQ(strings({"abcdefghijklmnop", "q"}).to_string(8), R"(["abcdefg...", ... 2 strings])");
}

TEST(MetadataValue, TextHidesWhatATerminalWouldObey) {
  EXPECT_EQ(MetadataValue::string("a\x1b[31m\n\t\r\x7f").to_string(), "a\\x1b[31m\\n\\t\\r\\x7f");
  EXPECT_EQ(MetadataValue::string("\xc2\x9b").to_string(), "\\xc2\\x9b");           // C1 control
  EXPECT_EQ(MetadataValue::string("\xff\xc0\x80").to_string(), "\\xff\\xc0\\x80");  // not UTF-8
  EXPECT_EQ(MetadataValue::string("\xed\xa0\x80").to_string(), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(MetadataValue::string("\xe2\x82").to_string(), "\\xe2\\x82");           // cut short
}

TEST(MetadataValue, TextOfBrokenValuesEnds) {
  EXPECT_EQ((MetadataValue{.type = MetadataType::kU32, .bytes = ""}).to_string(), "?");
  MetadataValue array{.type = MetadataType::kArray, .element = MetadataType::kString, .count = ~uint64_t{0}};
  array.bytes = raw<uint64_t>(1000) + "short";
  EXPECT_EQ(array.to_string(), "[... 18446744073709551615 strings]");
}

TEST(MetadataType, HasSizesAndNames) {
  EXPECT_EQ(metadata_type_bytes(MetadataType::kBool), 1u);
  EXPECT_EQ(metadata_type_bytes(MetadataType::kI16), 2u);
  EXPECT_EQ(metadata_type_bytes(MetadataType::kF32), 4u);
  EXPECT_EQ(metadata_type_bytes(MetadataType::kF64), 8u);
  EXPECT_EQ(metadata_type_bytes(MetadataType::kString), 0u);
  EXPECT_EQ(metadata_type_bytes(MetadataType::kArray), 0u);
  EXPECT_EQ(metadata_type_name(MetadataType::kU8), "u8");
  EXPECT_EQ(metadata_type_name(MetadataType::kArray), "array");
  EXPECT_EQ(metadata_type_name(MetadataType::kF64), "f64");
}

TEST(Metadata, SetReplacesInPlaceAndAppends) {
  Metadata metadata;
  metadata.set("a", MetadataValue::u32(1));
  metadata.set("b", MetadataValue::u32(2));
  metadata.set("a", MetadataValue::string("x"));
  ASSERT_EQ(metadata.size(), 2u);
  EXPECT_EQ(metadata.entries()[0].key, "a");
  EXPECT_EQ(metadata.find("a")->as_string(), "x");
  EXPECT_EQ(metadata.find("b")->as_unsigned(), 2u);
  EXPECT_EQ(metadata.find("c"), nullptr);
  metadata.erase("a");
  metadata.erase("c");
  ASSERT_EQ(metadata.size(), 1u);
  EXPECT_EQ(metadata.entries()[0].key, "b");
}

}  // namespace
}  // namespace lobit
