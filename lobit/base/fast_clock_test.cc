#include "lobit/base/fast_clock.h"

#include <thread>

#include <gtest/gtest.h>

namespace lobit {
namespace {

TEST(FastClock, GoesWithTheSteadyClock) {
  const FastClock clock;
  const uint64_t steady_before = steady_nanoseconds();
  const uint64_t before = clock.nanoseconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const uint64_t after = clock.nanoseconds();
  const uint64_t steady_after = steady_nanoseconds();
  // The steady clock was read around it.
  const uint64_t steady = steady_after - steady_before;
  EXPECT_GE(after - before, 49'900'000u);
  EXPECT_LE(after - before, steady + steady / 1000);
}

TEST(FastClock, IsTheSameForAllOfItsObjects) {
  const uint64_t first = FastClock().nanoseconds();
  const uint64_t second = FastClock().nanoseconds();
  EXPECT_GE(second, first);
  EXPECT_LT(second - first, 1'000'000'000u);
}

TEST(FastClock, RisesWithinAThread) {
  const FastClock clock;
  uint64_t before = clock.nanoseconds();
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t now = clock.nanoseconds();
    ASSERT_GE(now, before);
    before = now;
  }
}

}  // namespace
}  // namespace lobit
