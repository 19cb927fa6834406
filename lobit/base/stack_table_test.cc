#include <algorithm>
#include <array>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/stack_guesses_internal.h"
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

using Steps = std::vector<uint32_t>;
Steps steps_of(uint32_t seed, size_t size = 4) {
  Steps steps(size);
  for (size_t i = 0; i < size; ++i) steps[i] = seed * 1000 + static_cast<uint32_t>(i);
  return steps;
}

bool has_layout(const StackTable& table, uint32_t number, StackId id, const Steps& steps) {
  const StackTable::Layout layout = table.layout(number);
  return layout.id == id && layout.addresses == table.addresses(id).data() &&
         std::ranges::equal(layout.words, steps);
}

TEST(StackTable, KeepsSomeLayoutsOfEachStack) {
  StackTable table(10, map_for_test);
  for (uintptr_t i = 1; i <= 3; ++i) ASSERT_EQ(table.intern(stack_of(i), i), i);
  const uint64_t bytes = table.bytes();
  std::vector<uint32_t> numbers;
  for (int round = 0; round < 2; ++round) {
    for (uint32_t i = 0; i < 6; ++i) {
      const uint32_t number = table.intern_layout(i % 3 + 1, steps_of(i / 3, 4 + i % 2));
      if (round == 0) numbers.push_back(number);
      EXPECT_EQ(number, numbers[i]) << "each is kept once";
    }
  }
  for (uint32_t i = 0; i < 6; ++i) {
    EXPECT_TRUE(has_layout(table, numbers[i], i % 3 + 1, steps_of(i / 3, 4 + i % 2))) << i;
  }
  EXPECT_EQ(table.bytes(), bytes + 6 * 16 + 27 * 4);
}

TEST(StackTable, RefusesLayoutsBeyondItsRoom) {
  StackTable table(4, map_for_test);
  ASSERT_EQ(table.intern(stack_of(1), 1), 1u);
  ASSERT_EQ(table.intern(stack_of(2), 2), 2u);
  for (uint32_t i = 0; i < StackTable::kMostLayoutsOfStack; ++i) {
    EXPECT_NE(table.intern_layout(1, steps_of(i)), 0u);
  }
  EXPECT_EQ(table.intern_layout(1, steps_of(100)), 0u) << "too many of one stack";
  const uint32_t known = table.intern_layout(1, steps_of(3));
  EXPECT_TRUE(has_layout(table, known, 1, steps_of(3)));
  // 4 * 64 words, of which 1 + 8 * 8 are used.
  EXPECT_NE(table.intern_layout(2, steps_of(1, 90)), 0u);
  EXPECT_EQ(table.intern_layout(2, steps_of(2, 94)), 0u) << "one word too long";
  EXPECT_NE(table.intern_layout(2, steps_of(2, 93)), 0u);
  EXPECT_EQ(table.intern_layout(2, {}), 0u);
  EXPECT_EQ(table.intern(stack_of(3), 3), 3u) << "stacks have room of their own";
}

TEST(StackTable, KeepsEachLayoutOnceForAllThreads) {
  constexpr size_t kThreads = 8;
  StackTable table(100, map_for_test);
  std::array<std::vector<uint32_t>, kThreads> numbers;
  {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&table, &own = numbers[t]] {
        for (uintptr_t i = 0; i < 90; ++i) {
          const StackId id = table.intern(stack_of(i / 3), i / 3 * 0x9e3779b97f4a7c15u);
          const Steps steps = steps_of(static_cast<uint32_t>(i));
          own.push_back(table.intern_layout(id, steps));
          if (!has_layout(table, own.back(), id, steps)) own.back() = 0;
        }
      });
    }
  }
  for (const auto& own : numbers) EXPECT_EQ(own, numbers[0]);
  for (const uint32_t number : numbers[0]) EXPECT_NE(number, 0u);
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

TEST(StackGuesses, AreFoundByTheirKeyInAnyOrder) {
  const auto guesses = std::make_unique<StackGuesses>();
  const uint64_t key = 0x123456789abcdef0u;
  const auto find = [&](uint64_t wanted_key, uint32_t wanted) {
    return guesses->find(wanted_key, [wanted](uint32_t layout) { return layout == wanted; });
  };
  EXPECT_EQ(find(key, 1), 0u);
  for (uint32_t layout = 1; layout <= 4; ++layout) {
    for (int i = 0; i < 3; ++i) guesses->add(key, layout);
  }
  for (uint32_t layout = 1; layout <= 4; ++layout) EXPECT_EQ(find(key, layout), layout);
  EXPECT_EQ(find(key ^ 1, 1), 0u) << "same set, other tag";
  EXPECT_EQ(find(key ^ uint64_t{1} << 63, 1), 0u) << "same tag, other set";
  for (uint32_t layout = 5; layout <= 100; ++layout) {
    guesses->add(key, layout);
    EXPECT_EQ(find(key, layout), layout) << "pushes another one out";
  }
  int found = 0;
  for (uint32_t layout = 1; layout <= 100; ++layout) found += find(key, layout) == layout;
  EXPECT_EQ(found, 4);
}

}  // namespace
}  // namespace lobit::detail
