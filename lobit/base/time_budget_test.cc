#include "lobit/base/time_budget.h"

#include <gtest/gtest.h>

namespace lobit {
namespace {

using namespace std::chrono_literals;

uint64_t now = 0;  // of the clock below
uint64_t test_clock() {
  return now;
}

TEST(TimeBudget, IsSpentWhenItsTimeHasPassed) {
  now = 1000;
  const TimeBudget budget(100ns, test_clock);
  EXPECT_EQ(budget.left(), 100ns);
  now = 1099;
  EXPECT_EQ(budget.left(), 1ns);
  EXPECT_FALSE(budget.is_spent());
  now = 1100;
  EXPECT_TRUE(budget.is_spent());
  now = 5000;
  EXPECT_EQ(budget.left(), 0ns);
}

TEST(TimeBudget, OfNothingIsSpentAtOnceAndTheLongestNever) {
  now = 7;
  EXPECT_TRUE(TimeBudget(0ns, test_clock).is_spent());
  EXPECT_TRUE(TimeBudget(-5ns, test_clock).is_spent());
  const TimeBudget unlimited(std::chrono::nanoseconds::max(), test_clock);
  now = UINT64_MAX;
  EXPECT_FALSE(unlimited.is_spent());
  EXPECT_EQ(unlimited.left(), std::chrono::nanoseconds::max());
}

TEST(TimeBudget, RunsByTheSteadyClockByItself) {
  const TimeBudget budget(1h);
  EXPECT_LE(budget.left(), 1h);
  EXPECT_GT(budget.left(), 59min);
}

}  // namespace
}  // namespace lobit
