#include <gtest/gtest.h>

#include "lobit/memory/latency_histogram_internal.h"

namespace lobit::detail {
namespace {

TEST(LatencyHistogram, TellsPercentilesAtMostAnEighthTooHigh) {
  LatencyHistogram times;
  EXPECT_EQ(times.percentile(99), 0u);
  for (uint64_t ns = 1; ns <= 1000; ++ns) times.add(ns, 1);
  EXPECT_DOUBLE_EQ(times.mean(), 500.5);
  EXPECT_GE(times.percentile(99), 990u);
  EXPECT_LE(times.percentile(99), 1000u);
  EXPECT_GE(times.percentile(50), 500u);
  EXPECT_LE(times.percentile(50), 500u + 500 / 8);
  EXPECT_EQ(times.percentile(100), 1000u);
}

TEST(LatencyHistogram, CountsByWeight) {
  LatencyHistogram times;
  times.add(10, 98);
  times.add(5000, 2);
  EXPECT_DOUBLE_EQ(times.mean(), (10.0 * 98 + 5000 * 2) / 100);
  EXPECT_EQ(times.percentile(98), 10u);
  EXPECT_EQ(times.percentile(99), 5000u);
}

}  // namespace
}  // namespace lobit::detail
