#include "lobit/memory/spin_mutex.h"

#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace lobit::detail {
namespace {

TEST(SpinMutex, IsLockedByOneAtATime) {
  SpinMutex mutex;
  EXPECT_TRUE(mutex.try_lock());
  EXPECT_FALSE(mutex.try_lock());
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST(SpinMutex, LosesNoStepAndNoSleeper) {
  SpinMutex mutex;
  int steps = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        const std::lock_guard lock(mutex);
        // Some hold it for so long that the others go to sleep.
        if (i % 5000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        ++steps;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(steps, 160'000);
}

}  // namespace
}  // namespace lobit::detail
