#include "lobit/memory/memory_tag.h"

#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

TEST(MemoryTag, OursHaveNames) {
  EXPECT_EQ(memory_tag_name(MemoryTag::kUntagged), "untagged");
  EXPECT_EQ(memory_tag_name(MemoryTag::kKvCache), "kv_cache");
  EXPECT_EQ(memory_tag_name(MemoryTag::kScratch), "scratch");
  EXPECT_EQ(memory_tag("weights").value(), MemoryTag::kWeights);
  EXPECT_EQ(memory_tag_name(static_cast<MemoryTag>(255)), "untagged");
}

TEST(MemoryTag, NamesHaveAFewCharactersOnly) {
  for (const std::string& name :
       {std::string(), std::string("Weights"), std::string("a b"), std::string("a,b"), std::string("a\n"),
        std::string(kMaxMemoryTagName + 1, 'a')}) {
    EXPECT_THAT(memory_tag(name), fails_with(ErrorCode::kInvalidArgument)) << name;
  }
}

TEST(MemoryTag, OnesOfTheUserAreMadeOnceUntilThereAreAll) {
  const MemoryTag first = memory_tag("lora_7").value();
  EXPECT_EQ(memory_tag("lora_7").value(), first);
  EXPECT_EQ(memory_tag_name(first), "lora_7");
  size_t more = 0;
  while (memory_tag_count() < kMaxMemoryTags) {
    ASSERT_THAT(memory_tag("own_" + std::to_string(more++)), is_ok());
  }
  EXPECT_THAT(memory_tag("one_too_many"), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(memory_tag(std::string("own_0")).value(), static_cast<MemoryTag>(kMaxMemoryTags - more));
}

TEST(ScopedMemoryTag, NestsAndHoldsForItsThread) {
  EXPECT_EQ(current_memory_tag(), MemoryTag::kUntagged);
  {
    const ScopedMemoryTag weights(MemoryTag::kWeights);
    {
      const ScopedMemoryTag scratch(MemoryTag::kScratch);
      EXPECT_EQ(current_memory_tag(), MemoryTag::kScratch);
      std::thread([] { EXPECT_EQ(current_memory_tag(), MemoryTag::kUntagged); }).join();
    }
    EXPECT_EQ(current_memory_tag(), MemoryTag::kWeights);
    const ScopedMemoryTag none(static_cast<MemoryTag>(255));
    EXPECT_EQ(current_memory_tag(), MemoryTag::kUntagged);
  }
  EXPECT_EQ(current_memory_tag(), MemoryTag::kUntagged);
}

}  // namespace
}  // namespace lobit
