#include <algorithm>
#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/usage_timeline_internal.h"

namespace lobit::detail {
namespace {

TEST(UsageTimeline, KeepsEveryMomentWhileThereAreFew) {
  UsageTimeline timeline(8);
  timeline.add(5, 100, 200, std::array<uint64_t, 2>{60, 40});
  timeline.add(9, 50, 200, std::array<uint64_t, 2>{10, 40});
  const std::vector<MemoryMoment> moments = timeline.moments(3);
  ASSERT_EQ(moments.size(), 2u);
  EXPECT_EQ(moments[0].time_ns, 5u);
  EXPECT_EQ(moments[0].committed, 200u);
  EXPECT_EQ(moments[0].bytes_by_tag, std::vector<uint64_t>({60, 40, 0}));
  EXPECT_EQ(moments[1].live_bytes, 50u);
}

// Against all moments: the most of each interval and the last of all are there, whatever was merged.
TEST(UsageTimeline, KeepsThePeaksAndTheEndOfAnyLength) {
  for (const size_t points : {1U, 2U, 7U, 64U}) {
    UsageTimeline timeline(points);
    Random random(points);
    std::vector<std::pair<uint64_t, uint64_t>> all;
    uint64_t time = 0;
    for (int i = 0; i < 20'000; ++i) {
      time += random.below(1000);
      const uint64_t live = random.below(1'000'000);
      all.emplace_back(time, live);
      timeline.add(time, live, live, std::array<uint64_t, 1>{live});
    }
    const std::vector<MemoryMoment> moments = timeline.moments(1);
    ASSERT_LE(moments.size(), 2 * points);
    ASSERT_GE(moments.size(), points / 2);
    uint64_t before = 0;
    uint64_t most = 0;
    for (const MemoryMoment& moment : moments) {
      EXPECT_GE(moment.time_ns, before);
      before = moment.time_ns;
      EXPECT_TRUE(std::ranges::find(all, std::pair(moment.time_ns, moment.live_bytes)) != all.end());
      EXPECT_EQ(moment.bytes_by_tag[0], moment.live_bytes);
      most = std::max(most, moment.live_bytes);
    }
    const auto highest = std::ranges::max(all, {}, &std::pair<uint64_t, uint64_t>::second);
    EXPECT_EQ(most, highest.second);
    EXPECT_EQ(std::pair(moments.back().time_ns, moments.back().live_bytes), all.back());
  }
}

}  // namespace
}  // namespace lobit::detail
