#include "lobit/convert/target_metadata.h"

#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/base/version.h"

namespace lobit {
namespace {

using enum MetadataType;

template <typename T>
std::string bytes_of(std::initializer_list<T> values) {
  std::string bytes;
  for (const T& v : values) bytes.append(reinterpret_cast<const char*>(&v), sizeof v);
  return bytes;
}

std::string strings_of(std::initializer_list<std::string_view> values) {
  std::string bytes;
  for (const std::string_view v : values) bytes += bytes_of<uint64_t>({v.size()}) + std::string(v);
  return bytes;
}

MetadataValue number(MetadataType type, std::string bytes) {
  return {type, kString, 1, std::move(bytes)};
}
MetadataValue array(MetadataType element, uint64_t count, std::string bytes) {
  return {kArray, element, count, std::move(bytes)};
}

template <typename T>
void add_extremes(Metadata& m, const std::string& name, MetadataType type) {
  const T low = std::numeric_limits<T>::lowest();
  const T high = std::numeric_limits<T>::max();
  m.set(name + ".low", number(type, bytes_of<T>({low})));
  m.set(name + ".high", number(type, bytes_of<T>({high})));
  m.set(name + ".array", array(type, 3, bytes_of<T>({low, T{1}, high})));
  m.set(name + ".empty", array(type, 0, {}));
}

// Every type as itself and as an array's element.
Metadata everything() {
  Metadata m;
  m.set("general.architecture", MetadataValue::string("llama"));
  add_extremes<uint8_t>(m, "u8", kU8);
  add_extremes<int8_t>(m, "i8", kI8);
  add_extremes<uint16_t>(m, "u16", kU16);
  add_extremes<int16_t>(m, "i16", kI16);
  add_extremes<uint32_t>(m, "u32", kU32);
  add_extremes<int32_t>(m, "i32", kI32);
  add_extremes<uint64_t>(m, "u64", kU64);
  add_extremes<int64_t>(m, "i64", kI64);
  add_extremes<float>(m, "f32", kF32);
  add_extremes<double>(m, "f64", kF64);
  m.set("f32.odd", array(kF32, 4, bytes_of<float>({0.1f, -0.0f, 1e-45f, 1e-5f})));
  m.set("f64.odd", array(kF64, 3, bytes_of<double>({0.1, -0.0, 5e-324})));
  m.set("yes", MetadataValue::boolean(true));
  m.set("flags", array(kBool, 3, std::string("\1\0\1", 3)));
  m.set("no strings", array(kString, 0, {}));
  m.set("empty", MetadataValue::string(""));
  m.set("text", MetadataValue::string(std::string("a\n\"\\\t\xE2\x82\xAC\xF0\x9F\x98\x80 \0 z", 16)));
  m.set("tokenizer.ggml.tokens", array(kString, 4, strings_of({"<s>", "", "\xE2\x96\x81the", "\"quoted\""})));
  return m;
}

Result<Metadata> translated(const Metadata& metadata, FileFormat from, FileFormat to,
                            const Provenance& provenance = {}, std::span<const TensorSpec> tensors = {}) {
  Model model;
  model.format = from;
  model.metadata = metadata;
  return target_metadata(model, to, provenance, tensors);
}

TEST(TargetMetadata, EveryTypeSurvivesTheWayThroughSafetensors) {
  const Metadata source = everything();
  const auto between = translated(source, FileFormat::kGguf, FileFormat::kSafetensors);
  ASSERT_THAT(between, is_ok());
  EXPECT_TRUE(carries_gguf_metadata(*between));
  for (const MetadataEntry& entry : between->entries()) EXPECT_EQ(entry.value.type, kString) << entry.key;
  EXPECT_EQ(between->find("gguf.u16.high")->as_string(), R"({"type":"u16","value":65535})");

  const auto back = translated(*between, FileFormat::kSafetensors, FileFormat::kGguf);
  ASSERT_THAT(back, is_ok());
  ASSERT_GE(back->size(), source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    EXPECT_EQ(back->entries()[i].key, source.entries()[i].key);
    EXPECT_TRUE(back->entries()[i].value == source.entries()[i].value) << source.entries()[i].key;
  }
}

TEST(TargetMetadata, SafetensorsStringsBecomeGgufStrings) {
  Metadata source;
  source.set("format", MetadataValue::string("pt"));
  EXPECT_FALSE(carries_gguf_metadata(source));
  const auto target = translated(source, FileFormat::kSafetensors, FileFormat::kGguf);
  ASSERT_THAT(target, is_ok());
  EXPECT_EQ(target->find("format")->as_string(), "pt");
}

TEST(TargetMetadata, RefusesWhatJsonCannotHold) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const MetadataValue& value :
       {MetadataValue::string("\xFF\xFE"), number(kF32, bytes_of<float>({kNan})),
        number(kF64, bytes_of<double>({-kInf})), array(kF32, 2, bytes_of<float>({1.0f, kNan})),
        array(kString, 1, strings_of({"\xC3"}))}) {
    Metadata source;
    source.set("bad.key", value);
    const auto target = translated(source, FileFormat::kGguf, FileFormat::kSafetensors);
    ASSERT_THAT(target, fails_with(ErrorCode::kUnsupported));
    EXPECT_NE(target.error().message.find("'bad.key'"), std::string::npos);
    EXPECT_THAT(translated(source, FileFormat::kGguf, FileFormat::kGguf), is_ok());
  }
}

TEST(TargetMetadata, RefusesTextThatIsNoValue) {
  for (const char* const text : {"",
                                 "7",
                                 "[]",
                                 "{}",
                                 R"({"type":"u8"})",
                                 R"({"value":1})",
                                 R"({"type":"u9","value":1})",
                                 R"({"type":8,"value":1})",
                                 R"({"type":"u8","value":256})",
                                 R"({"type":"u8","value":-1})",
                                 R"({"type":"i8","value":-129})",
                                 R"({"type":"u64","value":18446744073709551616})",
                                 R"({"type":"u8","value":1.5})",
                                 R"({"type":"bool","value":1})",
                                 R"({"type":"string","value":1})",
                                 R"({"type":"f32","value":"1"})",
                                 R"({"type":"f32","value":null})",
                                 R"({"type":"f32","value":1e40})",
                                 R"({"type":"f64","value":1e400})",
                                 R"({"type":"array","value":[1]})",
                                 R"({"type":"array","element":7,"value":[1]})",
                                 R"({"type":"array","element":"u8","value":7})",
                                 R"({"type":"array","element":"array","value":[[1]]})",
                                 R"({"type":"array","element":"u8","value":[1,300]})",
                                 R"({"type":"array","element":"string","value":["a",1]})",
                                 R"({"type":"u8","value":1} x)"}) {
    Metadata source;
    source.set("gguf.general.architecture", MetadataValue::string(text));
    const auto target = translated(source, FileFormat::kSafetensors, FileFormat::kGguf);
    ASSERT_THAT(target, fails_with(ErrorCode::kCorrupt)) << text;
    EXPECT_NE(target.error().message.find("gguf.general.architecture"), std::string::npos);
  }
}

TEST(TargetMetadata, SaysHowTheFileWasMade) {
  const TensorSpec plain{"a", Shape::create(std::vector<int64_t>{1, 256}).value(), Encoding::kF16};
  TensorSpec blocks = plain;
  blocks.encoding = Encoding::kTQ2_0;
  Metadata source;
  source.set("general.file_type", MetadataValue::u32(1));
  source.set("general.name", MetadataValue::string("m"));
  const auto target = translated(source, FileFormat::kGguf, FileFormat::kGguf,
                                 {Encoding::kTQ2_0, TernaryRule::kAbsMean}, std::vector{plain, blocks});
  ASSERT_THAT(target, is_ok());
  EXPECT_EQ(target->entries()[0].key, "general.file_type");
  EXPECT_EQ(target->find("general.file_type")->as_unsigned(), 37u);
  EXPECT_EQ(target->find("general.quantization_version")->as_unsigned(), 2u);
  EXPECT_EQ(target->find("lobit.version")->as_string(), kVersion);
  EXPECT_EQ(target->find("lobit.encoding")->as_string(), "tq2_0");
  EXPECT_EQ(target->find("lobit.method")->as_string(), "absmean");

  const auto unquantized =
      translated(source, FileFormat::kGguf, FileFormat::kGguf, {Encoding::kBF16}, std::vector{plain});
  ASSERT_THAT(unquantized, is_ok());
  EXPECT_EQ(unquantized->find("general.file_type")->as_unsigned(), 32u);
  EXPECT_EQ(unquantized->find("general.quantization_version"), nullptr);
  EXPECT_EQ(unquantized->find("lobit.method")->as_string(), "direct");

  const auto exact = translated(source, FileFormat::kGguf, FileFormat::kGguf,
                                {Encoding::kTQ2_0, TernaryRule::kDirect, QuantizeMethod::kExact});
  ASSERT_THAT(exact, is_ok());
  EXPECT_EQ(exact->find("lobit.method")->as_string(), "exact");

  const auto tensors = translated(source, FileFormat::kGguf, FileFormat::kSafetensors, {Encoding::kQ8_0});
  ASSERT_THAT(tensors, is_ok());
  EXPECT_EQ(tensors->find("gguf.general.file_type")->as_string(), R"({"type":"u32","value":1})");
  EXPECT_EQ(tensors->find("lobit.encoding")->as_string(), "q8_0");
}

TEST(TargetMetadata, ConvertingAgainReplacesWhatWasSaid) {
  Metadata source;
  source.set("lobit.encoding", MetadataValue::string("f16"));
  const auto target =
      translated(source, FileFormat::kSafetensors, FileFormat::kSafetensors, {Encoding::kQ8_0});
  ASSERT_THAT(target, is_ok());
  EXPECT_EQ(target->find("lobit.encoding")->as_string(), "q8_0");
  EXPECT_EQ(target->size(), 3u);
}

}  // namespace
}  // namespace lobit
