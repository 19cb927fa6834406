#include "lobit/base/test_support.h"
#include "lobit/format/safetensors.h"

namespace lobit {
namespace {

using Strings = std::map<std::string, std::string>;

TEST(ReadSafetensorsIndex, GivesFilesAndMetadata) {
  const auto index = read_safetensors_index(
      R"({"metadata":{"total_size":18446744073709551615,"name":"n","share":0.5,"low":-1,"list":[1,{"x":"y"}],"no":null},
          "weight_map":{"b":"2.safetensors","a":"1.safetensors","c":"..x"}})",
      "index");
  ASSERT_THAT(index, is_ok());
  EXPECT_EQ(index->weight_map, (Strings{{"a", "1.safetensors"}, {"b", "2.safetensors"}, {"c", "..x"}}));
  EXPECT_EQ(
      index->metadata,
      (Strings{{"total_size", "18446744073709551615"}, {"name", "n"}, {"share", "0.5"}, {"low", "-1"}}));
}

TEST(ReadSafetensorsIndex, IgnoresOtherKeys) {
  const auto index = read_safetensors_index(
      R"({"x":{"weight_map":{"t":"/etc"},"y":[[]]},"z":[{"weight_map":1},"a",null],"s":"","n":-1.5,"b":true,
          "weight_map":{"a":"f"},"e":[]})",
      "index");
  ASSERT_THAT(index, is_ok());
  EXPECT_EQ(index->weight_map, (Strings{{"a", "f"}}));
  EXPECT_TRUE(index->metadata.empty());
}

// The text is wrong at the '@', which is not part of it.
void expect_bad(std::string_view marked) {
  const size_t at = marked.find('@');
  const auto index =
      read_safetensors_index(std::string(marked.substr(0, at)) + std::string(marked.substr(at + 1)), "index");
  ASSERT_THAT(index, fails_with(ErrorCode::kCorrupt)) << marked;
  EXPECT_EQ(index.error().detail.offset, at) << marked << ": " << index.error().message;
}

TEST(ReadSafetensorsIndex, RefusesFilesOutsideTheFolder) {
  for (const char* file :
       {"../a", "a/../b", "/etc/passwd", "a/b", "a\\\\b", "..", ".", "", "a\\u0000b", "a/"}) {
    expect_bad(R"({"weight_map":{"t":@")" + std::string(file) + "\"}}");
  }
}

TEST(ReadSafetensorsIndex, RefusesWrongStructure) {
  expect_bad("@");
  expect_bad("@[]");
  expect_bad("@\"a\"");
  expect_bad("@null");
  expect_bad("{}@");
  expect_bad(R"({"metadata":{}}@)");
  expect_bad(R"({"weight_map":@null})");
  expect_bad(R"({"weight_map":@[]})");
  expect_bad(R"({"weight_map":@"a"})");
  expect_bad(R"({"weight_map":{},"metadata":@1})");
  expect_bad(R"({"weight_map":{"a":@1}})");
  expect_bad(R"({"weight_map":{"a":@null}})");
  expect_bad(R"({"weight_map":{"a":@true}})");
  expect_bad(R"({"weight_map":{"a":@{}}})");
  expect_bad(R"({"weight_map":{"a":@["b"]}})");
  expect_bad(R"({"weight_map":{"a":"b"}@)");
  expect_bad("{\"weight_map\":" + std::string("@") + std::string(1'000'000, '['));
}

TEST(ReadSafetensorsIndex, RefusesDuplicates) {
  expect_bad(R"({"weight_map":{"a":"1","b":"1",@"a":"1"}})");
  expect_bad(R"({"weight_map":{},@"weight_map":{}})");
  expect_bad(R"({"metadata":{},"weight_map":{},@"metadata":{}})");
  expect_bad(R"({"metadata":{"x":"1",@"x":"2"},"weight_map":{}})");
}

TEST(ReadSafetensorsIndex, RefusesTextOverTheLimit) {
  EXPECT_THAT(read_safetensors_index(std::string(kSafetensorsMaxHeader + 1, ' '), "index"),
              fails_with(ErrorCode::kLimit));
}

TEST(WriteSafetensorsIndex, WritesTheseBytes) {
  SafetensorsIndex index;
  index.weight_map = {{"b", "2"}, {"a\"", "1"}};
  index.metadata = {{"total_size", "1"}, {"parameters", "7"}, {"format", "pt"}, {"padded", "007"}};
  EXPECT_EQ(write_safetensors_index(index, 96), R"({
  "metadata": {
    "total_size": 96,
    "format": "pt",
    "padded": "007",
    "parameters": 7
  },
  "weight_map": {
    "a\"": "1",
    "b": "2"
  }
}
)");
  EXPECT_THAT(read_safetensors_index(write_safetensors_index({}, 0), "index"), is_ok());
}

TEST(WriteSafetensorsIndex, ReadsBack) {
  SafetensorsIndex index;
  for (int i = 0; i < 1000; ++i) {
    index.weight_map["t" + std::to_string(i)] = "model-" + std::to_string(i % 3) + ".safetensors";
  }
  index.metadata = {{"total_size", "12"}, {"x", "\n"}, {"y", "18446744073709551616"}};
  const auto read_back = read_safetensors_index(write_safetensors_index(index, 12), "index");
  ASSERT_THAT(read_back, is_ok());
  EXPECT_EQ(read_back->weight_map, index.weight_map);
  EXPECT_EQ(read_back->metadata, index.metadata);
}

}  // namespace
}  // namespace lobit
