// A CleanupManager's schedule, and what others do during its runs.
#include <atomic>
#include <thread>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/cleanup_manager.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/test_maintenance_clock.h"

namespace lobit {
namespace {

using namespace std::chrono_literals;

constexpr size_t kMiB = size_t{1} << 20;

// The clock of both the maintenance thread and the manager.
detail::TestMaintenanceClock* schedule_clock = nullptr;
uint64_t schedule_now() {
  return static_cast<uint64_t>(schedule_clock->now().time_since_epoch().count());
}

class CleanupSchedules : public testing::Test {
 protected:
  CleanupSchedules() { schedule_clock = &clock_; }
  ~CleanupSchedules() override { schedule_clock = nullptr; }
  std::unique_ptr<CleanupManager> make(const CleanupOptions& options) {
    return CleanupManager::create(options, schedule_now, &thread_).value();
  }

  detail::TestMaintenanceClock clock_;
  detail::MaintenanceThread thread_{clock_};
  std::unique_ptr<HybridMemoryPool> pool_ = HybridMemoryPool::create({.idle_trim = 0ms}).value();
};

TEST_F(CleanupSchedules, CheckAtEachIntervalWhileThereAreTargets) {
  const auto manager = make({.check_interval = 100ms, .policy = {.idle_interval = 1s}});
  void* const block = pool_->allocate(8 * kMiB).value();
  ASSERT_THAT(pool_->deallocate(block, 8 * kMiB), is_ok());
  ASSERT_THAT(manager->add("pool", *pool_), is_ok());
  for (int i = 0; i < 9; ++i) clock_.advance(100ms);
  EXPECT_EQ(pool_->usage().committed, 8 * kMiB);
  clock_.advance(100ms);
  EXPECT_EQ(pool_->usage().committed, 0u);
  ASSERT_EQ(manager->history().size(), 1u);
  EXPECT_EQ(manager->history()[0].strategy, "idle");
  EXPECT_FALSE(clock_.is_thread_at_rest());
  ASSERT_THAT(manager->remove("pool"), is_ok());
  clock_.advance(100ms);
  EXPECT_TRUE(clock_.is_thread_at_rest());
}

TEST_F(CleanupSchedules, ThatAreOffDoNothing) {
  const auto on = make({.check_interval = 100ms, .policy = {.period = 1ns}});
  const auto off =
      make({.schedule = CleanupSchedule::kOff, .check_interval = 100ms, .policy = {.period = 1ns}});
  std::atomic<int> calls_of_on{0};
  std::atomic<int> calls_of_off{0};
  ASSERT_THAT(on->add("f", {}, [&](auto) -> size_t { return ++calls_of_on, 0; }), is_ok());
  ASSERT_THAT(off->add("f", {}, [&](auto) -> size_t { return ++calls_of_off, 0; }), is_ok());
  for (int i = 0; i < 3; ++i) clock_.advance(100ms);
  EXPECT_EQ(calls_of_on, 3);
  EXPECT_EQ(calls_of_off, 0);
  off->clean_due();
  EXPECT_EQ(calls_of_off, 1);
}

TEST_F(CleanupSchedules, GoOnWithWhatWasNotFinished) {
  const auto manager =
      make({.check_interval = 100ms, .policy = {.idle_interval = 100ms}, .max_cleanup_time = 0ms});
  void* const block = pool_->allocate(40 * kMiB).value();
  ASSERT_THAT(pool_->deallocate(block, 40 * kMiB), is_ok());
  ASSERT_THAT(manager->add("pool", *pool_), is_ok());
  for (const uint64_t left : {24U, 8U, 0U}) {
    clock_.advance(100ms);
    EXPECT_EQ(pool_->usage().committed, left * kMiB);
  }
}

TEST(CleanupThreads, RemovalWaitsForTheTargetThatIsWorkedOnAndForNoOther) {
  const auto manager = CleanupManager::create({.schedule = CleanupSchedule::kOff}).value();
  std::atomic<bool> begun{false};
  std::atomic<bool> may_end{false};
  std::atomic<bool> ended{false};
  ASSERT_THAT(manager->add("slow", {},
                           [&](auto) {
                             begun = true;
                             begun.notify_all();
                             may_end.wait(false);
                             ended = true;
                             return size_t{1};
                           }),
              is_ok());
  ASSERT_THAT(manager->add("other", {}, [](auto) { return size_t{1}; }), is_ok());
  CleanupReport report;
  std::thread cleaning([&] { report = manager->force_cleanup(); });
  begun.wait(false);
  EXPECT_THAT(manager->remove("other"), is_ok());
  EXPECT_FALSE(ended);
  std::thread removing([&] {
    EXPECT_THAT(manager->remove("slow"), is_ok());
    EXPECT_TRUE(ended);
  });
  may_end = true;
  may_end.notify_all();
  removing.join();
  cleaning.join();
  EXPECT_EQ(report.bytes_freed, 1u) << "the other one was removed before its turn";
}

TEST(CleanupThreads, TargetsComeAndGoWhileThreadsAllocateAndClean) {
  const auto memory = HybridMemoryPool::create({.idle_trim = 0ms}).value();
  const auto movable = MovableBlockPool::create(*memory).value();
  const auto manager =
      CleanupManager::create({.check_interval = 1ms, .policy = {.period = 1ns}, .max_cleanup_time = 1ms})
          .value();
  ASSERT_THAT(manager->add("memory", *memory), is_ok());
  ASSERT_THAT(manager->add("movable", *movable), is_ok());
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      CheckedBlocks blocks(*memory, t);
      Random random(t);
      for (int step = 0; step < 150; ++step) {
        blocks.add(random.size(kMiB));
        const size_t bytes = 33000 + random.size(300'000);
        const MovableBlock block = movable->allocate(bytes).value();
        fill_pattern(block.pin().data(), bytes, t);
        if (step % 2 != 0) blocks.free_random(random);
        EXPECT_TRUE(holds_pattern(block.pin().data(), bytes, t));
      }
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round) {
        const std::string name = "tensors " + std::to_string(t);
        const auto tensors = TensorMemoryPool::create(*memory).value();
        ASSERT_THAT(manager->add(name, *tensors), is_ok());
        const TensorHandle tensor = tensors->allocate_tensor(1, kMiB).value();
        ASSERT_THAT(tensors->deallocate_tensor(tensor), is_ok());
        manager->force_cleanup();
        ASSERT_THAT(manager->remove(name), is_ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory->usage().allocated, 0u);
  EXPECT_GT(manager->statistics().runs, 0u);
}

}  // namespace
}  // namespace lobit
