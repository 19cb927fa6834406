// The monitor among many threads.
#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/pressure_monitor.h"

namespace lobit {
namespace {

using namespace std::chrono_literals;
using enum MemoryPressureLevel;

constexpr size_t kMiB = size_t{1} << 20;

PressureOptions pools_only() {
  return {.interval = 0ms, .container = PressureWatch::kOff, .stalls = PressureWatch::kOff};
}

// Fails when a change does not begin where the one before ended.
class Chain {
 public:
  void add(const PressureChange& change) {
    EXPECT_NE(change.from, change.to);
    if (count_ != 0) {
      EXPECT_EQ(change.from, last_);
    }
    last_ = change.to;
    ++count_;
  }
  MemoryPressureLevel last() const { return last_; }
  uint64_t count() const { return count_; }

 private:
  MemoryPressureLevel last_ = kNone;
  uint64_t count_ = 0;
};

// Blocks of one thread that come and go; what does not fit is left out.
void work(HybridMemoryPool& pool, PressureMonitor& monitor, uint64_t seed) {
  constexpr int kSteps = 1000;
  Random random(seed);
  std::vector<Buffer> blocks;
  Chain chain;
  PressureMonitor::CallbackId id = 0;
  for (int i = 0; i < kSteps; ++i) {
    if (blocks.size() < 12 && random.below(3) != 0) {
      auto block = Buffer::allocate(pool, random.size(2 * kMiB));
      if (block) blocks.push_back(std::move(*block));
    } else if (!blocks.empty()) {
      blocks.pop_back();
    }
    if (i % 50 == 10) {
      chain = {};
      id = monitor.add_callback([&](const PressureChange& change) { chain.add(change); });
    }
    if (i % 50 == 40) monitor.remove_callback(id);  // the chain is this thread's alone again
    if (i % 8 == 0) monitor.check();
  }
}

TEST(PressureThreads, CallbacksComeAndGoWhileSixteenThreadsAllocate) {
  const auto pool = HybridMemoryPool::create({.limit = 12 * kMiB, .idle_trim = 1ms}).value();
  auto monitor = PressureMonitor::create(
                     {.interval = 1ms, .container = PressureWatch::kOff, .stalls = PressureWatch::kOff})
                     .value();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  Chain all;
  monitor->add_callback([&](const PressureChange& change) { all.add(change); });
  // One at a time calls: no lock.
  std::vector<Buffer> cache;
  monitor->add_callback([&](const PressureChange& change) {
    if (change.to >= kHigh) {
      cache.clear();
    } else if (auto block = Buffer::allocate(*pool, 4 * kMiB)) {
      cache.push_back(std::move(*block));
    }
  });
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 16; ++i) threads.emplace_back([&, i] { work(*pool, *monitor, i + 1); });
  for (std::thread& thread : threads) thread.join();
  monitor->unwatch(*pool);
  EXPECT_EQ(monitor->level(), kNone);
  EXPECT_GT(all.count(), 0u);
  monitor.reset();
  EXPECT_EQ(all.last(), kNone);
  cache.clear();
  EXPECT_EQ(pool->usage().allocated, 0u);
}

// The callback that frees is under way in another thread: the allocation waits for it.
TEST(PressureThreads, AnAllocationWaitsForWhatAnotherThreadFrees) {
  const auto pool = HybridMemoryPool::create({.limit = 64 * kMiB, .idle_trim = 0ms}).value();
  const auto monitor = PressureMonitor::create(pools_only()).value();
  ASSERT_THAT(monitor->watch(*pool), is_ok());
  Buffer cache = Buffer::allocate(*pool, 62 * kMiB).value();
  std::promise<void> entered;
  std::promise<void> opened;
  monitor->add_callback([&](const PressureChange& change) {
    if (change.to != kCritical || cache.empty()) return;
    entered.set_value();
    opened.get_future().wait();
    EXPECT_THAT(cache.free(), is_ok());
  });
  std::thread checker([&] { EXPECT_EQ(monitor->check(), kCritical); });
  entered.get_future().wait();
  std::thread allocator([&] { EXPECT_THAT(Buffer::allocate(*pool, 40 * kMiB), is_ok()); });
  // Until the other's request is counted.
  while (monitor->status().sources.at(0).used < 100 * kMiB) std::this_thread::yield();
  opened.set_value();
  allocator.join();
  checker.join();
}

TEST(PressureThreads, MonitorsOfOnePoolDoNotWaitForEachOther) {
  const auto pool = HybridMemoryPool::create({.limit = 64 * kMiB, .idle_trim = 0ms}).value();
  const Buffer half = Buffer::allocate(*pool, 32 * kMiB).value();
  const auto one = PressureMonitor::create(pools_only()).value();
  const auto other = PressureMonitor::create(pools_only()).value();
  for (const auto* monitor : {&one, &other}) {
    ASSERT_THAT((*monitor)->watch(*pool), is_ok());
    (*monitor)->add_callback([&](const PressureChange&) {
      EXPECT_THAT(pool->allocate(33 * kMiB), fails_with(ErrorCode::kLimit));
    });
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_THAT(pool->allocate(33 * kMiB), fails_with(ErrorCode::kLimit)); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(PressureThreads, AMonitorMayGoWhileItsPoolIsShort) {
  const auto pool = HybridMemoryPool::create({.limit = 8 * kMiB, .idle_trim = 0ms}).value();
  const Buffer half = Buffer::allocate(*pool, 4 * kMiB).value();
  std::atomic<bool> is_over{false};
  std::thread allocator([&] {
    while (!is_over) EXPECT_EQ(pool->try_allocate(5 * kMiB), nullptr);
  });
  for (int i = 0; i < 20; ++i) {
    std::atomic<int> calls{0};  // outlives the monitor, which may be calling back when it goes
    auto monitor = PressureMonitor::create(pools_only()).value();
    ASSERT_THAT(monitor->watch(*pool), is_ok());
    monitor->add_callback([&](const PressureChange&) { ++calls; });
    while (calls == 0) std::this_thread::yield();
  }
  is_over = true;
  allocator.join();
}

}  // namespace
}  // namespace lobit
