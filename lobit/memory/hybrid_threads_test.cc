// The pool under many threads, and threads that come and go.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/hybrid_memory_pool.h"

namespace lobit {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 2 + 1) {}
  uint64_t below(uint64_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % n;
  }

 private:
  uint64_t state_;
};

struct Block {
  unsigned char* data = nullptr;
  size_t bytes = 0;
};

// Slots that threads swap blocks through, so that most are freed by another thread than allocated them.
void churn(HybridMemoryPool& pool, std::vector<std::atomic<Block*>>& slots, uint64_t seed, int steps,
           std::atomic<int>* errors) {
  Random random(seed);
  for (int step = 0; step < steps; ++step) {
    const size_t bytes = 1 + random.below(uint64_t{1} << (4 + random.below(18)));
    const auto got = pool.allocate(bytes);
    Block* mine = nullptr;
    if (got) {
      mine = new Block{static_cast<unsigned char*>(*got), bytes};
      mine->data[0] = static_cast<unsigned char>(bytes);
      mine->data[bytes - 1] = static_cast<unsigned char>(bytes);
    } else if (got.error().code != ErrorCode::kLimit) {
      ++*errors;
    }
    Block* other = slots[random.below(slots.size())].exchange(mine);
    if (other == nullptr) continue;
    const auto expected = static_cast<unsigned char>(other->bytes);
    if (other->data[0] != expected || other->data[other->bytes - 1] != expected) ++*errors;
    if (!pool.deallocate(other->data, other->bytes)) ++*errors;
    delete other;
  }
}

// LOBIT_SOAK_TEST_SECONDS makes a long one.
double soak_seconds() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing sets the environment
  const char* text = std::getenv("LOBIT_SOAK_TEST_SECONDS");
  return text == nullptr ? 0.5 : std::strtod(text, nullptr);
}

// Threads replace blocks of all sizes for as long as is asked for, some thread ending and another beginning
// all the time: what the pool holds must not creep upwards.
TEST(HybridMemoryPoolThreads, HeldMemoryStaysFlat) {
  using Clock = std::chrono::steady_clock;
  const auto pool = HybridMemoryPool::create().value();
  std::vector<std::atomic<Block*>> slots(500);
  std::atomic<int> errors{0};
  churn(*pool, slots, 100, 50'000, &errors);  // to where it stays
  std::atomic<bool> stop{false};
  std::vector<std::jthread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t round = 0; !stop; ++round) {
        std::jthread([&] { churn(*pool, slots, t + 4 * round, 2000, &errors); }).join();
      }
    });
  }
  constexpr int kSamples = 40;
  std::array<uint64_t, 2> most_committed{};  // of the first and the second half
  uint64_t most_metadata = 0;
  uint64_t first_metadata = 0;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < kSamples; ++i) {
    std::this_thread::sleep_until(start +
                                  std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(soak_seconds() * (i + 1) / kSamples)));
    uint64_t& most = most_committed[i < kSamples / 2 ? 0 : 1];
    most = std::max(most, pool->usage().committed);
    most_metadata = std::max(most_metadata, pool->metadata_bytes());
    if (i == kSamples / 2) first_metadata = most_metadata;
  }
  stop = true;
  threads.clear();
  for (auto& slot : slots) {
    if (const Block* block = slot.exchange(nullptr); block != nullptr) {
      if (!pool->deallocate(block->data, block->bytes)) ++errors;
      delete block;
    }
  }
  EXPECT_EQ(errors, 0);
  EXPECT_LE(most_committed[1], most_committed[0] + most_committed[0] / 4);
  EXPECT_LE(most_metadata, first_metadata + first_metadata / 4);
  pool->trim();
  EXPECT_EQ(pool->usage().allocated, 0u);
  EXPECT_EQ(pool->usage().committed, 0u);
  RecordProperty("committed", std::to_string(most_committed[1]));
}

TEST(HybridMemoryPoolThreads, MixedWorkKeepsBlocksCountsAndLimit) {
  const auto pool = HybridMemoryPool::create({.limit = 48 * kMiB}).value();
  std::vector<std::atomic<Block*>> slots(300);
  std::atomic<int> errors{0};
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 16; ++i) threads.emplace_back([&, i] { churn(*pool, slots, i, 2000, &errors); });
  std::thread watcher([&] {
    while (!done) {
      if (pool->usage().committed > 48 * kMiB) ++errors;
      pool->trim();
    }
  });
  for (std::thread& thread : threads) thread.join();
  done = true;
  watcher.join();
  EXPECT_EQ(errors, 0);
  uint64_t live = 0;
  uint64_t blocks = 0;
  for (const std::atomic<Block*>& slot : slots) {
    if (slot.load() == nullptr) continue;
    live += slot.load()->bytes;
    ++blocks;
  }
  const MemoryUsage usage = pool->usage();
  EXPECT_EQ(usage.allocated, live);
  EXPECT_EQ(usage.allocations - usage.deallocations, blocks);
  EXPECT_LE(usage.peak_committed, 48 * kMiB);
  for (const std::atomic<Block*>& slot : slots) {
    if (slot.load() == nullptr) continue;
    ASSERT_THAT(pool->deallocate(slot.load()->data, slot.load()->bytes), is_ok());
    delete slot.load();
  }
  pool->trim();
  EXPECT_EQ(pool->usage().used, 0u);
  EXPECT_EQ(pool->usage().committed, 0u);
}

// Each cache tells from time to time what it has not told.
TEST(HybridMemoryPoolThreads, ThePeakOfTwoThreadsIsOffByLittle) {
  const auto pool = HybridMemoryPool::create().value();
  const auto allocate_much = [&] {
    std::vector<void*> blocks;
    for (int i = 0; i < 24; ++i) blocks.push_back(pool->allocate(512 * kKiB).value());
    return blocks;
  };
  const auto free_all = [&](const std::vector<void*>& blocks) {
    for (void* block : blocks) EXPECT_THAT(pool->deallocate(block, 512 * kKiB), is_ok());
  };
  const std::vector<void*> mine = allocate_much();
  std::thread([&] { free_all(allocate_much()); }).join();
  free_all(mine);
  EXPECT_LE(pool->usage().peak_allocated, 24 * kMiB);
  EXPECT_GE(pool->usage().peak_allocated, 22 * kMiB);
}

TEST(HybridMemoryPoolThreads, LargeBlocksAndCountingGoTogether) {
  const auto pool = HybridMemoryPool::create().value();
  std::atomic<bool> done{false};
  std::thread watcher([&] {
    while (!done) {
      if (pool->usage().allocated > 4 * kMiB + 100 || pool->metadata_bytes() == 0) std::abort();
    }
  });
  for (int i = 0; i < 200; ++i) {
    void* small = pool->allocate(100).value();
    void* large = pool->allocate(2 * kMiB).value();
    ASSERT_THAT(pool->deallocate(large, 2 * kMiB), is_ok());
    ASSERT_THAT(pool->deallocate(small, 100), is_ok());
  }
  done = true;
  watcher.join();
}

// Single blocks handed over, so that slabs empty and are released while their last block is on its way back.
TEST(HybridMemoryPoolThreads, SlabsMayBeReleasedWhileBlocksComeBack) {
  const auto pool = HybridMemoryPool::create().value();
  std::atomic<void*> slot{nullptr};
  constexpr int kBlocks = 2000;
  std::thread consumer([&] {
    for (int i = 0; i < kBlocks; ++i) {
      void* block = nullptr;
      while ((block = slot.exchange(nullptr)) == nullptr) std::this_thread::yield();
      ASSERT_THAT(pool->deallocate(block, 20'000), is_ok());
      if (i % 64 == 0) pool->trim();
    }
  });
  for (int i = 0; i < kBlocks; ++i) {
    void* block = pool->allocate(20'000).value();
    void* expected = nullptr;
    while (!slot.compare_exchange_weak(expected, block)) {
      expected = nullptr;
      std::this_thread::yield();
    }
    if (i % 97 == 0) pool->trim();
  }
  consumer.join();
  EXPECT_EQ(pool->usage().used, 0u);
  pool->trim();
  EXPECT_EQ(pool->usage().committed, 0u);
}

TEST(HybridMemoryPoolThreads, BlocksMayBeFreedByOtherThreads) {
  const auto pool = HybridMemoryPool::create().value();
  std::vector<void*> blocks;
  for (size_t i = 0; i < 10'000; ++i) blocks.push_back(pool->allocate(64 + i % 3000).value());
  std::thread([&] {
    for (size_t i = 0; i < 10'000; ++i) ASSERT_THAT(pool->deallocate(blocks[i], 64 + i % 3000), is_ok());
    for (size_t i = 0; i < 10'000; i += 97) {
      ASSERT_THAT(pool->deallocate(blocks[i], 64 + i % 3000), fails_with(ErrorCode::kInvalidArgument));
    }
  }).join();
  // Nor does their own thread free them again.
  EXPECT_THAT(pool->deallocate(blocks[0], 64), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(pool->usage().allocated, 0u);
  EXPECT_EQ(pool->usage().used, 0u);
  pool->trim();
  EXPECT_EQ(pool->usage().committed, 0u);
}

TEST(HybridMemoryPoolThreads, WhatAnEndedThreadLeftServesTheNextOne) {
  const auto pool = HybridMemoryPool::create().value();
  void* left = nullptr;
  uint64_t committed = 0;
  for (int round = 0; round < 50; ++round) {
    std::thread([&] {
      std::vector<void*> blocks;
      for (int i = 0; i < 1000; ++i) blocks.push_back(pool->allocate(1000).value());
      for (void* block : blocks) ASSERT_THAT(pool->deallocate(block, 1000), is_ok());
      if (left == nullptr) left = pool->allocate(1000).value();
    }).join();
    if (round == 0) committed = pool->usage().committed;
    ASSERT_EQ(pool->usage().committed, committed);
  }
  EXPECT_EQ(pool->usage().allocated, 1000u);
  EXPECT_THAT(pool->deallocate(left, 1000), is_ok());
}

TEST(HybridMemoryPoolThreads, ThreadsMayOutliveThePool) {
  auto pool = HybridMemoryPool::create().value();
  std::atomic<int> stage{0};
  std::thread thread([&] {
    void* block = pool->allocate(100).value();
    ASSERT_THAT(pool->deallocate(block, 100), is_ok());
    stage = 1;
    while (stage != 2) std::this_thread::yield();
    // Another pool, while this thread still remembers its cache of the first.
    const auto next = HybridMemoryPool::create().value();
    ASSERT_THAT(next->allocate(100), is_ok());
  });
  while (stage != 1) std::this_thread::yield();
  pool.reset();
  stage = 2;
  thread.join();
}

TEST(HybridMemoryPoolThreads, ManyPoolsAtOnceEachHaveTheirCaches) {
  std::vector<std::unique_ptr<HybridMemoryPool>> pools;
  for (int i = 0; i < 100; ++i) pools.push_back(HybridMemoryPool::create({.limit = 4 * kMiB}).value());
  std::vector<std::vector<void*>> blocks(pools.size());
  for (int round = 0; round < 20; ++round) {
    for (size_t i = 0; i < pools.size(); ++i) blocks[i].push_back(pools[i]->allocate(200).value());
  }
  for (size_t i = 0; i < pools.size(); ++i) {
    EXPECT_EQ(pools[i]->usage().allocated, 20 * 200u);
    EXPECT_THAT(pools[(i + 1) % pools.size()]->deallocate(blocks[i][0], 200),
                fails_with(ErrorCode::kInvalidArgument));
    for (void* block : blocks[i]) ASSERT_THAT(pools[i]->deallocate(block, 200), is_ok());
  }
}

// A thread-local object whose destructor uses the pool after the thread's cache has gone.
struct LateUser {
  HybridMemoryPool* pool = nullptr;
  void* block = nullptr;
  std::atomic<int>* freed = nullptr;
  ~LateUser() {
    if (pool != nullptr && pool->deallocate(block, 100)) ++*freed;
  }
};

TEST(HybridMemoryPoolThreads, AnEndingThreadMayStillFree) {
  const auto pool = HybridMemoryPool::create().value();
  std::atomic<int> freed{0};
  std::thread([&] {
    static thread_local LateUser user;
    user.pool = pool.get();
    user.freed = &freed;
    user.block = pool->allocate(100).value();
  }).join();
  EXPECT_EQ(freed, 1);
  EXPECT_EQ(pool->usage().allocated, 0u);
}

}  // namespace
}  // namespace lobit
