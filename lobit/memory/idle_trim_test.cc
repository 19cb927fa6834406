#include "lobit/memory/idle_trim.h"

#include <future>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/large_block_pool.h"
#include "lobit/memory/test_maintenance_clock.h"
#include "lobit/memory/test_virtual_memory.h"

namespace lobit::detail {
namespace {

using namespace std::chrono_literals;

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;
constexpr auto kPeriod = 100ms;

// The parts of a pool under a clock that stands still.
class IdleTrimTest : public testing::Test {
 protected:
  void SetUp() override { make(0); }
  void make(uint64_t keep) {
    idle_trim_.reset();
    small_.reset();
    heap_ = PageHeap::create(memory_, {.reserve_bytes = 256 * kMiB, .limit = kNoLimit, .keep = keep}).value();
    small_ = SmallBlockPool::create(memory_, *heap_, counts_, kMiB).value();
    idle_trim_ = IdleTrim::start(*heap_, *small_, kPeriod, thread_).value();
  }

  RunId take(size_t bytes) {
    const RunId run =
        heap_->take(heap_->lock(), static_cast<uint32_t>(bytes / kPageBytes), 1, RunKind::kLarge);
    EXPECT_NE(run, 0u);
    return run;
  }
  void give(RunId run) { heap_->give(heap_->lock(), run); }
  uint64_t committed() { return heap_->committed(heap_->lock()); }
  void pass_periods(int count) {
    for (int i = 0; i < count; ++i) clock_.advance(kPeriod);
  }

  void* allocate(size_t bytes) {
    Shortage shortage{};
    void* const block = small_->allocate(bytes, 1, &shortage);
    EXPECT_NE(block, nullptr);
    return block;
  }
  void free(void* block, size_t bytes) { EXPECT_EQ(small_->deallocate(block, bytes, 1), FreeResult::kFreed); }

  TestVirtualMemory memory_;
  TestMaintenanceClock clock_;
  MaintenanceThread thread_{clock_};
  BlockCounts counts_;
  std::unique_ptr<PageHeap> heap_;
  std::unique_ptr<SmallBlockPool> small_;
  std::unique_ptr<IdleTrim> idle_trim_;
};

TEST_F(IdleTrimTest, GivesBackWhatNobodyUsedAndThenRests) {
  give(take(40 * kMiB));
  EXPECT_EQ(committed(), 40 * kMiB);
  pass_periods(1);
  EXPECT_EQ(committed(), 40 * kMiB);
  pass_periods(1);
  EXPECT_EQ(committed(), 0u);
  EXPECT_EQ(memory_.discarded(), 40 * kMiB);
  pass_periods(1);
  EXPECT_TRUE(clock_.is_thread_at_rest());
}

// Freed without the heap's lock, it is no less seen.
TEST_F(IdleTrimTest, GivesBackTheRunThatWasFreedLast) {
  LargeBlockPool large(*heap_, counts_);
  Shortage shortage{};
  void* const block = large.allocate(40 * kMiB, 1, Growth::kAllowed, &shortage);
  pass_periods(3);
  EXPECT_TRUE(clock_.is_thread_at_rest());
  EXPECT_EQ(large.deallocate(block, 40 * kMiB, 1), FreeResult::kFreed);
  pass_periods(3);
  EXPECT_EQ(committed(), 0u);
}

TEST_F(IdleTrimTest, KeepsWhatIsUsedOnceInAPeriod) {
  for (int i = 0; i < 10; ++i) {
    give(take(8 * kMiB));
    pass_periods(1);
  }
  EXPECT_EQ(memory_.discarded(), 0u);
  EXPECT_EQ(committed(), 8 * kMiB);
}

TEST_F(IdleTrimTest, GivesBackTheUnusedPartOfAFreeRunThatIsWorkedOn) {
  give(take(32 * kMiB));
  for (int i = 0; i < 4; ++i) {
    give(take(4 * kMiB));
    pass_periods(1);
  }
  EXPECT_EQ(committed(), 4 * kMiB);
}

TEST_F(IdleTrimTest, LeavesLiveRunsAndWhatThePoolKeeps) {
  make(6 * kMiB);
  const RunId before = take(4 * kMiB);
  const RunId middle = take(8 * kMiB);
  const RunId live = take(4 * kMiB);
  give(before);
  give(middle);
  heap_->address(heap_->run(live).first)[0] = std::byte{7};
  pass_periods(3);
  EXPECT_EQ(committed(), 6 * kMiB);
  EXPECT_EQ(heap_->address(heap_->run(live).first)[0], std::byte{7});
  give(live);
  pass_periods(3);
  EXPECT_EQ(committed(), 6 * kMiB);
}

// What a block's huge page holds beside it was never freed, but is free.
TEST_F(IdleTrimTest, GivesBackTheRestOfAHugePage) {
  take(kMiB);
  EXPECT_EQ(committed(), 2 * kMiB);
  pass_periods(3);
  EXPECT_EQ(committed(), kMiB);
}

TEST_F(IdleTrimTest, EmptiesTheCachesOfThreadsThatRest) {
  std::promise<void> freed;
  std::promise<void> done;
  std::thread other([&] {
    std::vector<void*> blocks;
    for (int i = 0; i < 100; ++i) blocks.push_back(allocate(5 * kKiB));
    for (void* block : blocks) free(block, 5 * kKiB);
    free(allocate(500 * kKiB), 500 * kKiB);
    freed.set_value();
    done.get_future().wait();
  });
  freed.get_future().wait();
  EXPECT_GT(small_->held_bytes(), 500 * kKiB);
  pass_periods(1);
  EXPECT_GT(small_->held_bytes(), 500 * kKiB);
  pass_periods(1);
  EXPECT_EQ(small_->held_bytes(), 0u);
  EXPECT_EQ(committed(), 0u);
  pass_periods(2);
  EXPECT_TRUE(clock_.is_thread_at_rest());
  done.set_value();
  other.join();
}

TEST_F(IdleTrimTest, LeavesTheCacheOfAThreadThatWorks) {
  free(allocate(100), 100);
  free(allocate(500 * kKiB), 500 * kKiB);
  for (int i = 0; i < 5; ++i) {
    pass_periods(1);
    free(allocate(100), 100);
    EXPECT_GE(small_->held_bytes(), 500 * kKiB);
  }
}

// The thread was at rest, its cache empty: what it frees without a lock is noticed.
TEST_F(IdleTrimTest, HearsOfWhatAThreadFreesAfterARest) {
  void* const block = allocate(500 * kKiB);
  pass_periods(4);
  EXPECT_TRUE(clock_.is_thread_at_rest());
  EXPECT_EQ(committed(), 500 * kKiB);
  EXPECT_EQ(small_->publish_all(), 500 * kKiB);  // to be asked is no work
  free(block, 500 * kKiB);
  EXPECT_EQ(committed(), 500 * kKiB);
  pass_periods(2);
  EXPECT_EQ(committed(), 0u);
}

TEST_F(IdleTrimTest, TakesInWhatOthersFreeOfAThreadThatRests) {
  std::promise<void> allocated;
  std::promise<void> done;
  std::vector<void*> blocks;
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) blocks.push_back(allocate(kKiB));
    allocated.set_value();
    done.get_future().wait();
  });
  allocated.get_future().wait();
  pass_periods(4);
  EXPECT_GE(small_->held_bytes(), 100 * kKiB);
  for (void* block : blocks) free(block, kKiB);
  pass_periods(4);
  EXPECT_EQ(small_->held_bytes(), 0u);
  EXPECT_EQ(committed(), 0u);
  EXPECT_TRUE(clock_.is_thread_at_rest());
  done.set_value();
  other.join();
}

TEST_F(IdleTrimTest, CountsStayRightWhileThreadsWork) {
  constexpr size_t kThreads = 16;
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (size_t step = 0; step < 300; ++step) {
        const size_t bytes = 1 + (step * 7919 + i * 104729) % (200 * kKiB);
        auto* const block = static_cast<unsigned char*>(allocate(bytes));
        block[0] = block[bytes - 1] = static_cast<unsigned char>(i);
        EXPECT_EQ(block[0], i);
        EXPECT_EQ(block[bytes - 1], i);
        free(block, bytes);
      }
    });
  }
  for (int i = 0; i < 50; ++i) pass_periods(1);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(small_->publish_all(), 0u);
  EXPECT_EQ(counts_.live(), 0u);
  pass_periods(3);
  EXPECT_EQ(committed(), 0u);
}

// The real thread and the real time, of which nothing is asserted but that it passes.
void expect_given_back(const HybridMemoryPool& pool) {
  while (pool.usage().committed != 0) std::this_thread::sleep_for(1ms);
}

TEST(HybridMemoryPoolIdle, OnlyAPoolThatWantsItGivesBackByItself) {
  const auto keeps = HybridMemoryPool::create({.idle_trim = 0ms}).value();
  const auto gives = HybridMemoryPool::create({.idle_trim = 1ms}).value();
  for (HybridMemoryPool* pool : {keeps.get(), gives.get()}) {
    void* const block = pool->allocate(8 * kMiB).value();
    ASSERT_THAT(pool->deallocate(block, 8 * kMiB), is_ok());
  }
  expect_given_back(*gives);
  EXPECT_EQ(keeps->usage().committed, 8 * kMiB);
}

TEST(HybridMemoryPoolIdle, PoolsMayGoWhileTheirTurnIsUnderWay) {
  for (int i = 0; i < 20; ++i) {
    const auto pool = HybridMemoryPool::create({.idle_trim = 1ms}).value();
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        void* const block = pool->allocate(3 * kMiB).value();
        ASSERT_THAT(pool->deallocate(block, 3 * kMiB), is_ok());
        if (i % 2 != 0) std::this_thread::sleep_for(1ms);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(HybridMemoryPoolIdle, AChildProcessMayMakePoolsOfItsOwn) {
  if constexpr (LOBIT_TSAN != 0) GTEST_SKIP() << "the thread sanitizer forbids threads after fork()";
  const auto of_parent = HybridMemoryPool::create({.idle_trim = 1ms}).value();
  void* const block = of_parent->allocate(8 * kMiB).value();
  ASSERT_THAT(of_parent->deallocate(block, 8 * kMiB), is_ok());
  const pid_t child = ::fork();
  ASSERT_NE(child, -1);
  if (child == 0) {
    const auto own = HybridMemoryPool::create({.idle_trim = 1ms}).value();
    void* const of_own = own->allocate(8 * kMiB).value();
    const bool freed = own->deallocate(of_own, 8 * kMiB).has_value();
    expect_given_back(*own);
    ::_exit(freed ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  expect_given_back(*of_parent);
}

}  // namespace
}  // namespace lobit::detail
