#include <array>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/stack_table_internal.h"

namespace lobit::detail {
namespace {

// The tables of these tests share one piece of memory, one after the other.
std::unique_ptr<std::byte[]> memory;
int refusals = 0;  // that come

void* map_for_test(size_t bytes) {
  if (refusals > 0) {
    --refusals;
    return nullptr;
  }
  memory = std::make_unique<std::byte[]>(bytes);
  return memory.get();
}

using Stack = std::vector<uintptr_t>;
Stack stack_of(uintptr_t seed, size_t size = 3) {
  Stack stack(size);
  for (size_t i = 0; i < size; ++i) stack[i] = seed * 100 + i;
  return stack;
}

Stack read(const StackTable& table, StackId id) {
  const auto addresses = table.addresses(id);
  return {addresses.begin(), addresses.end()};
}

TEST(StackTable, NumbersEachStackOnce) {
  StackTable table(100, map_for_test);
  EXPECT_EQ(table.count(), 0u);
  EXPECT_EQ(table.bytes(), 0u);
  for (int round = 0; round < 2; ++round) {
    for (uintptr_t i = 0; i < 50; ++i) EXPECT_EQ(table.intern(stack_of(i), i << 48 | i * 7), i + 1);
  }
  EXPECT_EQ(table.count(), 50u);
  for (uintptr_t i = 0; i < 50; ++i) EXPECT_EQ(read(table, static_cast<StackId>(i + 1)), stack_of(i));
}

TEST(StackTable, TellsStacksOfOneHashApart) {
  StackTable table(100, map_for_test);
  const uint64_t hash = UINT64_MAX;
  EXPECT_EQ(table.intern(stack_of(1, 2), hash), 1u);
  EXPECT_EQ(table.intern(stack_of(1, 3), hash), 2u) << "the first is its beginning";
  EXPECT_EQ(table.intern(stack_of(2, 3), hash), 3u);
  EXPECT_EQ(table.intern(stack_of(1, 2), hash), 1u);
  EXPECT_EQ(table.intern(stack_of(1, 3), hash), 2u);
}

TEST(StackTable, KnowsItsStacksWhenItIsFull) {
  StackTable table(7, map_for_test);
  for (uintptr_t i = 0; i < 7; ++i) EXPECT_EQ(table.intern(stack_of(i, kMaxStackFrames), i), i + 1);
  EXPECT_EQ(table.intern(stack_of(7), 7), 0u);
  EXPECT_EQ(table.count(), 7u);
  for (uintptr_t i = 0; i < 7; ++i) EXPECT_EQ(table.intern(stack_of(i, kMaxStackFrames), i), i + 1);
  EXPECT_EQ(read(table, 7), stack_of(6, kMaxStackFrames));
}

TEST(StackTable, HoldsAsManyAsItSays) {
  StackTable table(StackTable::kMostStacks, map_for_test);
  for (uintptr_t i = 0; i < StackTable::kMostStacks; ++i) {
    ASSERT_EQ(table.intern(stack_of(i, 1), i * 0x9e3779b97f4a7c15u), i + 1);
  }
  EXPECT_EQ(table.intern(stack_of(1u << 20, 1), 5), 0u);
  EXPECT_EQ(read(table, StackTable::kMostStacks), stack_of(StackTable::kMostStacks - 1, 1));
}

TEST(StackTable, WaitsForMemory) {
  StackTable table(10, map_for_test);
  refusals = 2;
  EXPECT_EQ(table.intern(stack_of(1), 1), 0u);
  EXPECT_EQ(table.intern(stack_of(1), 1), 0u);
  EXPECT_TRUE(table.addresses(1).empty());
  EXPECT_EQ(table.intern(stack_of(1), 1), 1u);
  EXPECT_EQ(read(table, 1), stack_of(1));
}

TEST(StackTable, NumbersEachStackOnceForAllThreads) {
  constexpr size_t kThreads = 8;
  StackTable table(1000, map_for_test);
  std::array<std::vector<StackId>, kThreads> ids;
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&table, &own = ids[t]] {
        for (uintptr_t i = 0; i < 500; ++i) {
          own.push_back(table.intern(stack_of(i), i * 0x9e3779b97f4a7c15u));
          if (read(table, own.back()) != stack_of(i)) own.back() = 0;
        }
      });
    }
  }
  EXPECT_EQ(table.count(), 500u);
  for (size_t t = 1; t < kThreads; ++t) EXPECT_EQ(ids[t], ids[0]);
  for (const StackId id : ids[0]) EXPECT_NE(id, 0u);
}

}  // namespace
}  // namespace lobit::detail
