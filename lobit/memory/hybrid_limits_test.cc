// Limits, trimming and what happens when memory is short.
#include <atomic>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/test_virtual_memory.h"

namespace lobit {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

// Gives back only when the test says so.
std::unique_ptr<HybridMemoryPool> make_pool(MemoryPoolOptions options = {}) {
  options.idle_trim = options.idle_trim.zero();
  return HybridMemoryPool::create(options).value();
}

uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  file >> total >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

TEST(HybridMemoryPool, OptionsThatContradictEachOtherAreRefused) {
  const auto code_of = [](const MemoryPoolOptions& options) {
    const auto pool = HybridMemoryPool::create(options);
    return pool ? std::string()
                : std::string(error_code_name(pool.error().code)) + ": " + pool.error().message;
  };
  EXPECT_EQ(code_of({.small = {.initial = 2, .max = 1}}),
            "invalid argument: pool options: small: initial 2 bytes, expected at most its max of 1");
  EXPECT_EQ(code_of({.large = {.initial = kMiB, .max = 1}}),
            "invalid argument: pool options: large: initial 1048576 bytes, expected at most its max of 1");
  EXPECT_EQ(code_of({.small = {.initial = kMiB}, .large = {.initial = kMiB}, .limit = kMiB}),
            "invalid argument: pool options: initial 1048576 + 1048576 bytes, expected at most the limit of "
            "1048576");
  EXPECT_EQ(code_of({.small_block_threshold = 1000}),
            "invalid argument: pool options: small_block_threshold 1000 bytes, expected 32768 to 1073741824");
  EXPECT_EQ(code_of({.limit = 100}),
            "invalid argument: pool options: limit 100 bytes, expected at least 4096");
  EXPECT_EQ(code_of({.idle_trim = std::chrono::milliseconds(-1)}),
            "invalid argument: pool options: idle_trim -1 ms, expected 0 to 86400000");
  EXPECT_EQ(code_of({.idle_trim = std::chrono::milliseconds::max()}),
            "invalid argument: pool options: idle_trim 9223372036854775807 ms, expected 0 to 86400000");
}

// A slab of 1 KiB blocks has 128 KiB.
TEST(HybridMemoryPool, ALimitBelowASlabServesSmallBlocksAllTheSame) {
  for (const MemoryPoolOptions& options :
       {MemoryPoolOptions{.limit = 100 * kKiB}, MemoryPoolOptions{.small = {.max = 100 * kKiB}}}) {
    const auto pool = make_pool(options);
    std::vector<Buffer> blocks;
    for (int i = 0; i < 25; ++i) blocks.push_back(Buffer::allocate(*pool, 1000).value());
    EXPECT_THAT(Buffer::allocate(*pool, 1000), fails_with(ErrorCode::kLimit));
    EXPECT_EQ(pool->usage().used, 100 * kKiB);
    blocks.clear();
    EXPECT_EQ(pool->usage().used, 0u);
  }
}

TEST(HybridMemoryPool, TheLeastThresholdLeavesTheLargestClassWhole) {
  const auto pool = make_pool({.small_block_threshold = 32 * kKiB});
  for (const size_t bytes : {32 * kKiB - 1, 32 * kKiB}) {
    std::vector<void*> blocks;
    for (int i = 0; i < 20; ++i) blocks.push_back(pool->allocate(bytes).value());
    for (void* block : blocks) EXPECT_THAT(pool->deallocate(block, bytes), is_ok());
  }
  EXPECT_EQ(pool->usage().used, 0u);
}

TEST(HybridMemoryPool, LargestFreeBlockKnowsTheLimitsOfItsPools) {
  const auto pool = make_pool({.large = {.max = 10 * kMiB}, .limit = 100 * kMiB});
  EXPECT_EQ(pool->largest_free_block(), 10 * kMiB);
  EXPECT_THAT(pool->allocate(10 * kMiB + 1), fails_with(ErrorCode::kLimit));
  const Buffer some = Buffer::allocate(*pool, 9 * kMiB + 512 * kKiB).value();
  EXPECT_EQ(pool->largest_free_block(), kMiB - 1) << "of the small pool";
}

// Two threads that never need more than the limit together never meet it, whatever waits for the next.
TEST(HybridMemoryPool, WhatFitsTheLimitIsServedUnderThreads) {
  const auto pool = make_pool({.limit = 11 * kMiB});
  std::atomic<int> failures{0};
  const auto work = [&](size_t a, size_t b) {
    for (int i = 0; i < 5000; ++i) {
      const size_t bytes = i % 2 == 0 ? a : b;
      void* const block = pool->try_allocate(bytes);
      if (block == nullptr || !pool->try_deallocate(block, bytes)) ++failures;
    }
  };
  std::thread other([&] { work(8 * kMiB, 9 * kMiB); });
  work(kMiB + 4096, 2 * kMiB);
  other.join();
  EXPECT_EQ(failures, 0);
}

TEST(HybridMemoryPool, AKeptBlockServesOnlyItsAlignmentAndSize) {
  const auto pool = make_pool();
  void* const first = pool->allocate(8 * kMiB + 4096).value();
  void* const second = pool->allocate(8 * kMiB).value();
  ASSERT_NE(reinterpret_cast<uintptr_t>(second) % kMiB, 0u);
  ASSERT_THAT(pool->deallocate(second, 8 * kMiB), is_ok());
  void* const aligned = pool->allocate(8 * kMiB, kMiB).value();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(aligned) % kMiB, 0u);
  ASSERT_THAT(pool->deallocate(aligned, 8 * kMiB, kMiB), is_ok());
  void* const shorter = pool->allocate(5 * kMiB).value();
  EXPECT_EQ(pool->usage().used, 13 * kMiB + 4096);
  ASSERT_THAT(pool->deallocate(shorter, 5 * kMiB), is_ok());
  ASSERT_THAT(pool->deallocate(first, 8 * kMiB + 4096), is_ok());
}

// What a thread keeps is used before the heap grows.
TEST(HybridMemoryPool, GrowsOnlyWhenThisThreadKeepsNothing) {
  const auto pool = make_pool({.huge_pages = HugePages::kNever});
  for (const size_t bytes : {3 * kMiB, kMiB, 4 * kMiB, 8 * kMiB}) {
    ASSERT_THAT(pool->deallocate(pool->allocate(bytes).value(), bytes), is_ok());
    EXPECT_LE(pool->usage().committed, std::max(bytes, 4 * kMiB));
  }
  ASSERT_THAT(pool->deallocate(pool->allocate(4 * kMiB).value(), 4 * kMiB), is_ok());
  const Buffer small = Buffer::allocate(*pool, 100).value();
  EXPECT_EQ(pool->usage().committed, 8 * kMiB);
}

// Both sides of the threshold have runs of one length in the thread's cache.
TEST(HybridMemoryPool, CachedRunsCountAgainstThePoolThatTheyWereTakenFor) {
  const size_t threshold = 100 * kKiB + 1;
  const auto pool = make_pool({.small = {.max = 104 * kKiB}, .small_block_threshold = threshold});
  void* const large = pool->allocate(threshold).value();
  ASSERT_THAT(pool->deallocate(large, threshold), is_ok());
  void* const small = pool->allocate(threshold - 1).value();
  EXPECT_THAT(pool->allocate(threshold - 1), fails_with(ErrorCode::kLimit));
  EXPECT_THAT(pool->deallocate(pool->allocate(threshold).value(), threshold), is_ok());
  ASSERT_THAT(pool->deallocate(small, threshold - 1), is_ok());
}

TEST(HybridMemoryPool, FewAddressesAreEnoughForASmallLimit) {
  TestVirtualMemory memory;
  memory.limit_addresses(32 * kMiB);
  const auto pool = HybridMemoryPool::create({.limit = 8 * kMiB}, memory).value();
  EXPECT_THAT(Buffer::allocate(*pool, 8 * kMiB), is_ok());
  EXPECT_THAT(HybridMemoryPool::create({.limit = 64 * kMiB}, memory), fails_with(ErrorCode::kOutOfMemory));
}

TEST(HybridMemoryPool, InitialSizesAreCommittedTouchedAndKept) {
  TestVirtualMemory memory;
  const auto pool =
      HybridMemoryPool::create({.small = {.initial = 2 * kMiB}, .large = {.initial = 6 * kMiB}}, memory)
          .value();
  EXPECT_EQ(pool->usage().committed, 8 * kMiB);
  EXPECT_EQ(memory.populated(), 8 * kMiB);
  {
    const Buffer buffer = Buffer::allocate(*pool, 20 * kMiB).value();
    EXPECT_GE(pool->usage().committed, 20 * kMiB);
  }
  pool->trim();
  EXPECT_EQ(pool->usage().committed, 8 * kMiB);
}

TEST(HybridMemoryPool, EachPoolKeepsItsOwnMaximum) {
  const auto pool = make_pool({.small = {.max = kMiB}, .large = {.max = 4 * kMiB}});
  const Buffer large = Buffer::allocate(*pool, 4 * kMiB).value();
  const auto more = Buffer::allocate(*pool, kMiB);
  ASSERT_THAT(more, fails_with(ErrorCode::kLimit));
  EXPECT_NE(more.error().message.find("the large pool may hold 4194304 bytes and holds 4194304"),
            std::string::npos);
  const Buffer small = Buffer::allocate(*pool, 900 * kKiB).value();
  const auto too_much = Buffer::allocate(*pool, 200 * kKiB);
  ASSERT_THAT(too_much, fails_with(ErrorCode::kLimit));
  EXPECT_NE(too_much.error().message.find("the small pool may hold 1048576 bytes"), std::string::npos);
}

TEST(HybridMemoryPool, TheThresholdDecidesWhichPoolServes) {
  const auto fits_small = [](size_t threshold) {
    const auto pool = make_pool({.large = {.max = 0}, .small_block_threshold = threshold});
    return pool->allocate(100 * kKiB).has_value();
  };
  EXPECT_TRUE(fits_small(kMiB));
  EXPECT_FALSE(fits_small(100 * kKiB));
}

TEST(HybridMemoryPool, KeepsItsLimit) {
  const auto pool = make_pool({.limit = 64 * kMiB});
  const auto refused = pool->allocate(64 * kMiB + 1);
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(refused.error().detail.required, 64 * kMiB + 1);
  EXPECT_EQ(refused.error().detail.available, 64 * kMiB);
  void* all = pool->allocate(64 * kMiB).value();
  EXPECT_THAT(pool->allocate(1), fails_with(ErrorCode::kLimit));
  EXPECT_THAT(pool->deallocate(all, 64 * kMiB), is_ok());
  void* again = pool->allocate(64 * kMiB).value();
  EXPECT_THAT(pool->deallocate(again, 64 * kMiB), is_ok());
  EXPECT_EQ(pool->trim(), 64 * kMiB);
  EXPECT_EQ(pool->usage().committed, 0u);
}

TEST(HybridMemoryPool, SmallBlocksFillALimitToItsLastPage) {
  const auto pool = make_pool({.limit = 3 * kMiB});
  std::vector<void*> blocks;
  while (true) {
    const auto block = pool->allocate(4 * kKiB);
    if (!block) break;
    blocks.push_back(*block);
    ASSERT_LE(pool->usage().committed, 3 * kMiB);
  }
  // Slabs of 4 KiB blocks take 128 KiB.
  EXPECT_EQ(blocks.size(), 3 * kMiB / (4 * kKiB));
  for (void* block : blocks) ASSERT_THAT(pool->deallocate(block, 4 * kKiB), is_ok());
  // What small blocks held is free for a large one.
  EXPECT_THAT(pool->allocate(3 * kMiB), is_ok());
}

TEST(HybridMemoryPool, HugePagesAreUsedOnlyWhereTheyFitTheLimit) {
  const auto huge_bytes = [](const MemoryPoolOptions& options, size_t bytes) {
    TestVirtualMemory memory;
    const auto pool = HybridMemoryPool::create(options, memory).value();
    EXPECT_THAT(pool->allocate(bytes), is_ok());
    EXPECT_LE(pool->usage().committed, options.limit);
    return memory.huge_bytes();
  };
  EXPECT_EQ(huge_bytes({.limit = 3 * kMiB}, kMiB), 2 * kMiB);
  EXPECT_EQ(huge_bytes({.limit = 3 * kMiB}, 3 * kMiB), 0u);
  EXPECT_EQ(huge_bytes({.limit = kMiB}, kMiB), 0u);
  EXPECT_EQ(huge_bytes({.limit = 64 * kMiB, .huge_pages = HugePages::kNever}, kMiB), 0u);
}

TEST(HybridMemoryPool, TrimGivesBackWhatItSaysAndKeepsWhatLives) {
  const auto pool = make_pool();
  std::vector<Buffer> blocks;
  for (int i = 0; i < 64; ++i) {
    blocks.push_back(Buffer::allocate(*pool, 3 * kMiB).value());
    std::fill(blocks.back().bytes().begin(), blocks.back().bytes().end(), std::byte(i));
  }
  const uint64_t before = pool->usage().committed;
  const uint64_t resident_before = resident_bytes();
  for (size_t i = 0; i < blocks.size(); i += 2) EXPECT_THAT(blocks[i].free(), is_ok());
  const size_t freed = pool->trim();
  EXPECT_EQ(pool->usage().committed, before - freed);
  EXPECT_GE(freed, 80 * kMiB);
  EXPECT_LE(resident_bytes(), resident_before - 80 * kMiB);
  EXPECT_EQ(pool->trim(), 0u);
  for (size_t i = 1; i < blocks.size(); i += 2) {
    ASSERT_EQ(blocks[i].bytes().front(), std::byte(i));
    ASSERT_EQ(blocks[i].bytes()[kMiB], std::byte(i));
    ASSERT_EQ(blocks[i].bytes().back(), std::byte(i));
  }
}

TEST(HybridMemoryPool, FreeingAllInAnyOrderLeavesOneFreeBlock) {
  const auto pool = make_pool({.limit = 256 * kMiB});
  const uint64_t whole = pool->largest_free_block();
  EXPECT_EQ(whole, 256 * kMiB);
  std::vector<Buffer> blocks;
  for (size_t i = 0; i < 200; ++i)
    blocks.push_back(Buffer::allocate(*pool, 1 + i * 7919 % (2 * kMiB)).value());
  while (!blocks.empty()) {
    std::swap(blocks[blocks.size() * 7 / 11], blocks.back());
    blocks.pop_back();
  }
  EXPECT_EQ(pool->usage().allocated, 0u);
  pool->trim();
  EXPECT_EQ(pool->largest_free_block(), whole);
  EXPECT_THAT(pool->allocate(whole), is_ok());
}

TEST(HybridMemoryPool, FreedMemoryIsUsedAgainBeforeThePoolGrows) {
  const auto pool = make_pool();
  void* block = pool->allocate(40 * kMiB).value();
  EXPECT_THAT(pool->deallocate(block, 40 * kMiB), is_ok());
  const uint64_t committed = pool->usage().committed;
  std::vector<Buffer> blocks;
  for (int i = 0; i < 13; ++i) blocks.push_back(Buffer::allocate(*pool, 3 * kMiB).value());
  EXPECT_EQ(pool->usage().committed, committed);
}

TEST(HybridMemoryPool, ReclaimersRunInOrderOfPriorityUntilThereIsRoom) {
  const auto pool = make_pool({.limit = 64 * kMiB});
  Buffer first = Buffer::allocate(*pool, 20 * kMiB).value();
  Buffer second = Buffer::allocate(*pool, 20 * kMiB).value();
  std::string called;
  OutOfMemory told;
  pool->add_reclaimer({.priority = 5, .reclaim = [&](const OutOfMemory&) { called += "5"; }});
  pool->add_reclaimer({.priority = 2, .reclaim = [&](const OutOfMemory& what) {
                         called += "2";
                         told = what;
                         static_cast<void>(first.free());
                       }});
  pool->add_reclaimer({.priority = 1, .reclaim = [&](const OutOfMemory&) {
                         called += "1";
                         throw std::runtime_error("no");
                       }});
  const auto removed =
      pool->add_reclaimer({.priority = 0, .reclaim = [&](const OutOfMemory&) { called += "0"; }});
  pool->remove_reclaimer(removed);
  EXPECT_THAT(Buffer::allocate(*pool, 30 * kMiB), is_ok());
  EXPECT_EQ(called, "12");
  EXPECT_EQ(told.bytes, 30 * kMiB);
  EXPECT_EQ(told.limit, 64 * kMiB);
  EXPECT_EQ(told.allocated, 40 * kMiB);
  EXPECT_THAT(second.free(), is_ok());
}

TEST(HybridMemoryPool, TheFailureHandlerDecidesHowOftenToTryAgain) {
  const auto pool = make_pool({.limit = 8 * kMiB});
  Buffer held = Buffer::allocate(*pool, 8 * kMiB).value();
  int calls = 0;
  pool->set_failure_handler([&](const OutOfMemory&) { return ++calls < 3; });
  EXPECT_THAT(pool->allocate(kMiB), fails_with(ErrorCode::kLimit));
  EXPECT_EQ(calls, 3);
  pool->set_failure_handler([&](const OutOfMemory&) { return held.free().has_value(); });
  EXPECT_THAT(pool->allocate(kMiB), is_ok());
  pool->set_failure_handler([](const OutOfMemory&) -> bool { throw std::runtime_error("no"); });
  EXPECT_THAT(pool->allocate(8 * kMiB), fails_with(ErrorCode::kLimit));
}

TEST(HybridMemoryPool, SaysWhatFragmentsItsMemory) {
  const auto pool = make_pool({.limit = 8 * kMiB, .huge_pages = HugePages::kNever});
  std::vector<Buffer> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(Buffer::allocate(*pool, kMiB).value());
  blocks[1] = {};
  blocks[5] = {};
  const auto refused = pool->allocate(3 * kMiB);
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(refused.error().detail.available, 2 * kMiB);
  EXPECT_NE(refused.error().message.find("6291456 of them in live blocks"), std::string::npos)
      << refused.error().message;
  // Two pieces in different places serve one block all the same: their pages move, the addresses do not
  // matter.
  EXPECT_THAT(pool->allocate(2 * kMiB), is_ok());
}

TEST(HybridMemoryPool, InitialSizesThatCannotBeAreRefused) {
  EXPECT_THAT(HybridMemoryPool::create({.small = {.initial = uint64_t{16} << 40}}),
              fails_with(ErrorCode::kOutOfMemory));
  EXPECT_THAT(HybridMemoryPool::create({.large = {.initial = kNoLimit}}),
              fails_with(ErrorCode::kOutOfMemory));
}

TEST(HybridMemoryPool, TheCodeSaysWhoseLimitItWas) {
  EXPECT_THAT(make_pool({.limit = 64 * kMiB})->allocate(size_t{2} << 30), fails_with(ErrorCode::kLimit));
  EXPECT_THAT(make_pool()->allocate(SIZE_MAX), fails_with(ErrorCode::kOutOfMemory));
}

TEST(HybridMemoryPool, WhatAChosenRunHoldsElsewhereMakesRoomForItself) {
  const auto pool = make_pool({.limit = 8 * kMiB, .huge_pages = HugePages::kNever});
  const Buffer first = Buffer::allocate(*pool, 4 * kKiB).value();
  Buffer large = Buffer::allocate(*pool, 7 * kMiB).value();
  pool->add_reclaimer(
      {.priority = 0, .reclaim = [&](const OutOfMemory&) { static_cast<void>(large.free()); }});
  // Aligned, the block begins behind what the freed one had committed.
  EXPECT_THAT(pool->allocate(7 * kMiB + kMiB / 2, kMiB), is_ok());
}

// A script that meets every kind of system call.
void run_script(VirtualMemory& memory, int* failures) {
  auto pool = HybridMemoryPool::create({.small = {.initial = kMiB}}, memory);
  if (!pool) {
    EXPECT_THAT(pool, fails_with(ErrorCode::kOutOfMemory));
    ++*failures;
    return;
  }
  std::vector<Buffer> blocks;
  for (const size_t bytes : {size_t{100}, 5 * kKiB, 33 * kKiB, 900 * kKiB, 2 * kMiB, 30 * kMiB, 200 * kMiB}) {
    for (int i = 0; i < 20; ++i) {
      auto block = Buffer::allocate(**pool, bytes);
      if (block) {
        block->bytes().front() = block->bytes().back() = std::byte{1};
        blocks.push_back(std::move(*block));
      } else {
        EXPECT_THAT(block, fails_with(ErrorCode::kOutOfMemory));
        ++*failures;
      }
    }
  }
  blocks.clear();
  EXPECT_EQ((*pool)->usage().allocated, 0u);
  (*pool)->trim();
}

TEST(HybridMemoryPool, EverySystemCallMayFail) {
  uint64_t calls = 0;
  {
    TestVirtualMemory memory;
    int failures = 0;
    run_script(memory, &failures);
    EXPECT_EQ(failures, 0);
    calls = memory.calls();
  }
  ASSERT_GT(calls, 10u);
  for (uint64_t n = 0; n < calls; ++n) {
    TestVirtualMemory memory;
    memory.fail_from(n);
    int failures = 0;
    run_script(memory, &failures);
    EXPECT_GT(failures, 0) << n;
    EXPECT_EQ(memory.reserved(), 0u) << n;
  }
}

}  // namespace
}  // namespace lobit
