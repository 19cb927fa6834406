#include <algorithm>
#include <map>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/repeating_sizes_internal.h"

namespace lobit::detail {
namespace {

bool holds(const std::vector<SizeKey>& keys, const SizeKey& key) {
  return std::ranges::find(keys, key) != keys.end();
}

TEST(FrequentSizes, NamesWhatIsAskedForOften) {
  FrequentSizes sizes;
  // 1000 of one and 1000 of another among 200,000 that come once: one in 202.
  for (uint64_t i = 0; i < 200000; ++i) {
    sizes.allocated({.bytes = 1000000 + i});
    if (i % 200 == 0) sizes.allocated({.bytes = 64, .tag = 1});
    if (i % 200 == 7) sizes.allocated({.bytes = 64, .stack = 1});
  }
  EXPECT_LE(sizes.candidates().size(), FrequentSizes::kCandidates);
  EXPECT_TRUE(holds(sizes.candidates(), {.bytes = 64, .tag = 1}));
  EXPECT_TRUE(holds(sizes.candidates(), {.bytes = 64, .stack = 1}));
  EXPECT_FALSE(holds(sizes.candidates(), {.bytes = 64}));
}

TEST(FrequentSizes, NeverMissesWhatItPromises) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    Random random(seed);
    FrequentSizes sizes;
    std::map<uint64_t, uint64_t> counts;
    constexpr uint64_t kAllocations = 20000;
    for (uint64_t i = 0; i < kAllocations; ++i) {
      const uint64_t bytes = random.size(random.below(4) == 0 ? 16 : 1 << 20);
      sizes.allocated({.bytes = bytes});
      ++counts[bytes];
    }
    const std::vector<SizeKey> candidates = sizes.candidates();
    size_t frequent = 0;
    for (const auto& [bytes, count] : counts) {
      if (count * (FrequentSizes::kCandidates + 1) <= kAllocations) continue;
      ++frequent;
      EXPECT_TRUE(holds(candidates, {.bytes = bytes})) << bytes;
    }
    EXPECT_GE(frequent, 10u);
  }
}

TEST(RepeatingSizes, CountsExactly) {
  RepeatingSizes sizes({{.bytes = 10}, {.bytes = 20}, {.bytes = 30}, {.bytes = 40}});
  EXPECT_EQ(sizes.allocated({.bytes = 50}), RepeatingSizes::kNone);
  sizes.freed(RepeatingSizes::kNone);
  for (int i = 0; i < 100; ++i) sizes.freed(sizes.allocated({.bytes = 10}));
  for (int i = 0; i < 99; ++i) sizes.freed(sizes.allocated({.bytes = 20}));  // once too few
  const auto take = [&sizes](uint64_t bytes, int live) {
    std::vector<uint32_t> places;
    for (int i = 0; i < live; ++i) places.push_back(sizes.allocated({.bytes = bytes}));
    for (const uint32_t place : places) sizes.freed(place);
  };
  for (int i = 0; i < 50; ++i) take(30, 4);
  for (int i = 0; i < 50; ++i) take(40, i == 25 ? 5 : 4);  // once one too many
  const std::vector<RepeatingSize> found = sizes.repeating();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].key.bytes, 30u);
  EXPECT_EQ(found[0].allocations, 200u);
  EXPECT_EQ(found[0].most_live, 4u);
  EXPECT_EQ(found[1].key.bytes, 10u);
  EXPECT_EQ(found[1].allocations, 100u);
  EXPECT_EQ(found[1].most_live, 1u);
}

}  // namespace
}  // namespace lobit::detail
