// Trimming in steps, and how committed memory is made use of.
#include <atomic>
#include <thread>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/memory/memory_profile.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

using namespace std::chrono_literals;

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

std::unique_ptr<HybridMemoryPool> make_pool(MemoryPoolOptions options = {}) {
  options.idle_trim = options.idle_trim.zero();
  return HybridMemoryPool::create(options).value();
}

std::unique_ptr<HybridMemoryPool> make_pool_of_small_pages() {
  return make_pool({.huge_pages = HugePages::kNever});
}

// Each look at this clock takes a millisecond.
std::atomic<uint64_t> ticks{0};
uint64_t ticking_clock() {
  return ticks.fetch_add(1) * 1'000'000;
}

void free_block(MemoryResource& pool, void* block, size_t bytes) {
  ASSERT_THAT(pool.deallocate(block, bytes), is_ok());
}

TEST(HybridTrim, StopsAfterTheStepInWhichTheTimeWasUp) {
  const auto pool = make_pool();
  free_block(*pool, pool->allocate(200 * kMiB).value(), 200 * kMiB);
  ASSERT_EQ(pool->usage().committed, 200 * kMiB);
  const TrimResult three = pool->trim_within(TimeBudget(3ms, ticking_clock));
  EXPECT_EQ(three.bytes, 3 * 16 * kMiB);
  EXPECT_FALSE(three.finished);
  EXPECT_EQ(pool->usage().committed, 152 * kMiB);
  const TrimResult one = pool->trim_within(TimeBudget(0ns, ticking_clock));
  EXPECT_EQ(one.bytes, 16 * kMiB);
  const TrimResult rest = pool->trim_within(TimeBudget(1h));
  EXPECT_EQ(rest.bytes, 136 * kMiB);
  EXPECT_TRUE(rest.finished);
  EXPECT_EQ(pool->usage().committed, 0u);
}

TEST(HybridTrim, InStepsGivesBackWhatItDoesInOneGo) {
  std::vector<uint64_t> left;
  for (const bool in_steps : {false, true}) {
    const auto pool = make_pool();
    CheckedBlocks blocks(*pool);
    Random random(3);
    for (int i = 0; i < 150; ++i) blocks.add(random.size(4 * kMiB));
    for (int i = 0; i < 100; ++i) blocks.free_random(random);
    const uint64_t before = pool->usage().committed;
    uint64_t freed = 0;
    if (in_steps) {
      TrimResult step;
      do {
        step = pool->trim_within(TimeBudget(0ns, ticking_clock));
        freed += step.bytes;
      } while (!step.finished);
    } else {
      freed = pool->trim();
    }
    blocks.expect_contents();
    left.push_back(pool->usage().committed);
    EXPECT_GT(freed, 0u);
    EXPECT_EQ(before - freed, left.back());
  }
  EXPECT_EQ(left[0], left[1]);
}

// Many short runs: a step is so many calls to the system.
TEST(HybridTrim, AStepEndsAfterSoManyRuns) {
  const auto pool = make_pool_of_small_pages();
  constexpr size_t kBytes = 40 * kKiB;
  std::vector<void*> blocks;
  for (int i = 0; i < 1200; ++i) blocks.push_back(pool->allocate(kBytes).value());
  for (size_t i = 0; i < blocks.size(); i += 2) free_block(*pool, blocks[i], kBytes);
  EXPECT_EQ(pool->trim_within(TimeBudget(0ns)).bytes, 8 * kBytes);
  EXPECT_FALSE(pool->trim_within(TimeBudget(0ns)).finished);
  EXPECT_EQ(pool->trim_within(TimeBudget(1h)).bytes, 584 * kBytes);
}

TEST(HybridTrim, LeavesWhatThePoolKeeps) {
  const auto pool = make_pool({.large = {.initial = 20 * kMiB}});
  free_block(*pool, pool->allocate(100 * kMiB).value(), 100 * kMiB);
  const TrimResult result = pool->trim_within(TimeBudget(1h));
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.bytes, 80 * kMiB);
  EXPECT_EQ(pool->usage().committed, 20 * kMiB);
  EXPECT_EQ(pool->trim_within(TimeBudget(1h)).bytes, 0u);
}

TEST(HybridTrim, OfAWrapperIsThatOfThePoolBelow) {
  const auto pool = make_pool();
  LimitingResource limiting(*pool, 1024 * kMiB);
  free_block(limiting, limiting.allocate(64 * kMiB).value(), 64 * kMiB);
  const TrimResult result = limiting.trim_within(TimeBudget(0ns, ticking_clock));
  EXPECT_EQ(result.bytes, 16 * kMiB);
  EXPECT_FALSE(result.finished);
}

TEST(HybridTrim, WhileThreadsAllocate) {
  const auto pool = make_pool();
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      CheckedBlocks blocks(*pool, i + 1);
      Random random(i);
      for (int step = 0; step < 200; ++step) {
        blocks.add(random.size(kMiB));
        if (step % 3 != 0) blocks.free_random(random);
        if (blocks.live_bytes() > 8 * kMiB) blocks.free_all();
      }
    });
  }
  for (int i = 0; i < 50; ++i) pool->trim_within(TimeBudget(0ns, ticking_clock));
  for (std::thread& thread : threads) thread.join();
  pool->trim_within(TimeBudget(1h));
  EXPECT_EQ(pool->usage().committed, 0u);
}

// By hand, in pages of 4096 bytes: 1281 + 2048 + 1536 + 2560 + 1024 = 8449 pages are taken, in this order;
// then the second and the fourth are freed.
TEST(MemoryFragmentation, OfAPoolIsWhatIsComputedByHand) {
  const auto pool = make_pool_of_small_pages();
  ASSERT_EQ(pool->allocate(5 * kMiB + 100).has_value(), true);
  void* const second = pool->allocate(8 * kMiB).value();
  ASSERT_EQ(pool->allocate(6 * kMiB).has_value(), true);
  void* const fourth = pool->allocate(10 * kMiB).value();
  ASSERT_EQ(pool->allocate(4 * kMiB + 1 - 4096).has_value(), true);  // 1023 pages and a byte
  MemoryFragmentation now = pool->fragmentation().value();
  EXPECT_EQ(now.committed, 8449 * uint64_t{4096});
  EXPECT_EQ(now.requested, 33 * kMiB + 101 - 4096);
  EXPECT_EQ(now.rounding, (4096 - 100) + (4096 - 1));
  EXPECT_EQ(now.free, 0u);
  EXPECT_EQ(now.free_pieces, 0u);
  EXPECT_EQ(now.unusable(), 0.0);

  free_block(*pool, second, 8 * kMiB);
  free_block(*pool, fourth, 10 * kMiB);
  now = pool->fragmentation().value();
  EXPECT_EQ(now.committed, 8449 * uint64_t{4096});
  EXPECT_EQ(now.requested, 15 * kMiB + 101 - 4096);
  EXPECT_EQ(now.rounding, (4096 - 100) + (4096 - 1));
  EXPECT_EQ(now.free, 18 * kMiB);
  EXPECT_EQ(now.largest_free, 10 * kMiB);
  EXPECT_EQ(now.free_pieces, 2u);
  EXPECT_DOUBLE_EQ(now.unusable(), 8.0 / 18.0);
}

// A slab of 64 KiB with 16 blocks of 4 KiB, two of them live; what else it holds is free, in no piece.
TEST(MemoryFragmentation, CountsWhatIsLeftOfASlabAsFree) {
  const auto pool = make_pool_of_small_pages();
  ASSERT_TRUE(pool->allocate(4000).has_value());
  ASSERT_TRUE(pool->allocate(4096).has_value());
  const MemoryFragmentation now = pool->fragmentation().value();
  EXPECT_EQ(now.requested, 8096u);
  EXPECT_EQ(now.rounding, 96u);
  EXPECT_EQ(now.free, now.committed - 8192);
  EXPECT_GT(now.free, 0u);
  EXPECT_EQ(now.free_pieces, 0u);
}

TEST(MemoryFragmentation, AddsUpToWhatIsCommitted) {
  for (const bool huge : {true, false}) {
    const auto pool = huge ? make_pool() : make_pool_of_small_pages();
    CheckedBlocks blocks(*pool);
    Random random(5);
    for (int round = 0; round < 40; ++round) {
      for (int i = 0; i < 30; ++i) blocks.add(random.size(2 * kMiB));
      for (int i = 0; i < 20; ++i) blocks.free_random(random);
      if (round % 7 == 0) pool->trim();
      const MemoryFragmentation now = pool->fragmentation().value();
      EXPECT_EQ(now.requested, blocks.live_bytes());
      EXPECT_EQ(now.committed, pool->usage().committed);
      EXPECT_EQ(now.requested + now.rounding + now.free, now.committed);
      EXPECT_LE(now.largest_free, now.free);
    }
  }
}

TEST(MemoryFragmentation, IsKnownThroughAWrapperAndNotOfTheSystem) {
  const auto pool = make_pool();
  LimitingResource limiting(*pool, kMiB);
  ASSERT_TRUE(limiting.allocate(100 * kKiB).has_value());
  EXPECT_EQ(limiting.fragmentation().value().requested, 100 * kKiB);
  EXPECT_FALSE(SystemResource().fragmentation().has_value());
}

}  // namespace
}  // namespace lobit
