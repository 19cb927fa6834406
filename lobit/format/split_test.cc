#include "lobit/format/split.h"

#include <gtest/gtest.h>

namespace lobit {
namespace {

TEST(SplitPartName, CountsFromOneInFiveDigits) {
  EXPECT_EQ(split_part_name("model", 1, 3), "model-00001-of-00003.gguf");
  EXPECT_EQ(split_part_name("dir/a-b", 65535, 65535), "dir/a-b-65535-of-65535.gguf");
}

TEST(SplitPartName, IsReadBack) {
  const auto name = parse_split_part_name("Llama-3-00002-of-00010.gguf");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->stem, "Llama-3");
  EXPECT_EQ(name->number, 2u);
  EXPECT_EQ(name->count, 10u);
}

TEST(SplitPartName, OtherNamesAreNone) {
  for (const std::string_view name :
       {"", ".gguf", "model.gguf", "model-00001-of-00003.safetensors", "model-1-of-3.gguf",
        "model-00001-of-0003.gguf", "model-00004-of-00003.gguf", "model-00000-of-00003.gguf",
        "model-0000a-of-00003.gguf", "model-+0001-of-00003.gguf", "model00001-of-00003.gguf",
        "-00001-0f-00003.gguf"}) {
    EXPECT_FALSE(parse_split_part_name(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace lobit
