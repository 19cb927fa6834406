#include <random>
#include <thread>
#include <unordered_map>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/block_records_internal.h"

namespace lobit::detail {
namespace {

void* address(uint64_t value) {
  return reinterpret_cast<void*>(value);  // NOLINT(performance-no-int-to-ptr): never followed
}

BlockRecord record_of(uint64_t where, uint64_t bytes) {
  return {.pointer = address(where), .bytes = bytes, .time_ns = where ^ bytes};
}

TEST(BlockRecords, FindsWhatAMapFinds) {
  BlockRecords records;
  std::unordered_map<uint64_t, uint64_t> expected;
  std::mt19937_64 random(7);
  for (int i = 0; i < 200'000; ++i) {
    // Few addresses, so that they come again; aligned like blocks.
    const uint64_t where = (random() % 4096 + 1) * 4096;
    if (random() % 2 == 0) {
      bool is_kept = false;
      const auto replaced = records.add(record_of(where, static_cast<uint64_t>(i)), &is_kept);
      ASSERT_TRUE(is_kept);
      const auto known = expected.find(where);
      ASSERT_EQ(replaced.has_value(), known != expected.end());
      if (replaced) {
        ASSERT_EQ(replaced->bytes, known->second);
      }
      expected[where] = static_cast<uint64_t>(i);
    } else {
      const bool may_have = records.may_have(address(where));
      const auto removed = records.remove(address(where));
      const auto known = expected.find(where);
      ASSERT_EQ(removed.has_value(), known != expected.end());
      if (!removed) continue;
      ASSERT_TRUE(may_have);
      ASSERT_EQ(removed->bytes, known->second);
      expected.erase(known);
    }
  }
  EXPECT_EQ(records.count(), expected.size());
  uint64_t seen = 0;
  records.for_each([&](const BlockRecord& r) {
    ++seen;
    EXPECT_EQ(expected.at(reinterpret_cast<uintptr_t>(r.pointer)), r.bytes);
  });
  EXPECT_EQ(seen, expected.size());
}

TEST(BlockRecords, TheFilterForgetsWhatIsGone) {
  BlockRecords records;
  bool is_kept = false;
  constexpr uint64_t kBlocks = 5000;
  for (uint64_t i = 1; i <= kBlocks; ++i) records.add(record_of(i * 64, i), &is_kept);
  for (uint64_t i = 1; i <= kBlocks; ++i) EXPECT_TRUE(records.may_have(address(i * 64)));
  for (uint64_t i = 1; i <= kBlocks; ++i) EXPECT_TRUE(records.remove(address(i * 64)).has_value());
  uint64_t left = 0;
  for (uint64_t i = 1; i <= kBlocks; ++i) left += records.may_have(address(i * 64)) ? 1 : 0;
  EXPECT_EQ(left, 0U);
}

TEST(BlockRecords, RestoreLeavesANewerOneAlone) {
  BlockRecords records;
  bool is_kept = false;
  records.add(record_of(4096, 1), &is_kept);
  const BlockRecord removed = records.remove(address(4096)).value();
  EXPECT_TRUE(records.restore(removed));
  EXPECT_FALSE(records.restore(record_of(4096, 2)));
  EXPECT_EQ(records.remove(address(4096))->bytes, 1u);
}

TEST(BlockRecords, ClearForgetsAll) {
  BlockRecords records;
  bool is_kept = false;
  const uint64_t empty = records.bytes();
  records.add(record_of(4096, 1), &is_kept);
  EXPECT_GT(records.bytes(), empty);
  records.clear();
  EXPECT_EQ(records.count(), 0U);
  EXPECT_EQ(records.bytes(), empty);
  EXPECT_FALSE(records.may_have(address(4096)));
  EXPECT_FALSE(records.remove(address(4096)).has_value());
}

TEST(BlockRecordsThreads, KeepTheirRecordsApart) {
  BlockRecords records;
  constexpr uint64_t kThreads = 8;
  constexpr uint64_t kBlocks = 2000;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&records, t] {
      bool is_kept = false;
      for (uint64_t i = 1; i <= kBlocks; ++i) records.add(record_of((i * kThreads + t) * 64, i), &is_kept);
      for (uint64_t i = 1; i < kBlocks; ++i) {
        const auto removed = records.remove(address((i * kThreads + t) * 64));
        ASSERT_TRUE(removed.has_value());
        ASSERT_EQ(removed->bytes, i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(records.count(), kThreads);
}

}  // namespace
}  // namespace lobit::detail
