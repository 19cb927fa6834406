#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/usage_timeline_internal.h"

namespace lobit::detail {
namespace {

struct Point {
  uint64_t time_ns;
  uint64_t live;
  uint64_t committed;

  friend bool operator==(const Point&, const Point&) = default;
};

std::vector<Point> points_of(const UsageTimeline& timeline) {
  std::vector<Point> points;
  for (const MemoryMoment& moment : timeline.moments()) {
    points.push_back({moment.time_ns, moment.live_bytes, moment.committed});
  }
  return points;
}

TEST(UsageTimeline, StartsWithoutPoints) {
  EXPECT_TRUE(UsageTimeline(4, 2).moments().empty());
}

TEST(UsageTimeline, KeepsTheMomentOfMostLiveInEachInterval) {
  UsageTimeline timeline(4, 2);
  timeline.add(0, 10, 0, std::array<uint64_t, 2>{10, 0});
  timeline.add(0, 30, 64, std::array<uint64_t, 2>{10, 20});
  timeline.add(0, 5, 64, std::array<uint64_t, 2>{0, 5});
  timeline.add(3, 4, 64, std::array<uint64_t, 2>{0, 4});
  EXPECT_EQ(timeline.interval_ns(), 1u);
  // In the intervals 1 and 2 nothing happens; the third begins with what was there.
  EXPECT_EQ(points_of(timeline), (std::vector<Point>{{0, 30, 64}, {1, 5, 64}, {2, 5, 64}, {3, 5, 64}}));
  EXPECT_EQ(timeline.moments()[0].bytes_by_tag, (std::vector<uint64_t>{10, 20}));
  EXPECT_EQ(timeline.moments()[3].bytes_by_tag, (std::vector<uint64_t>{0, 5}));
}

TEST(UsageTimeline, MergesNeighboursWhenTimeRunsOut) {
  UsageTimeline timeline(4, 1);
  for (uint64_t time = 0; time < 4; ++time) timeline.add(time, 10 * time, 0, std::array{10 * time});
  timeline.add(4, 7, 0, std::array<uint64_t, 1>{7});
  EXPECT_EQ(timeline.interval_ns(), 2u);
  // The interval from 4 on begins with the 30 that were live until then.
  EXPECT_EQ(points_of(timeline), (std::vector<Point>{{1, 10, 0}, {3, 30, 0}, {4, 30, 0}}));
  timeline.add(16, 8, 0, std::array<uint64_t, 1>{8});
  EXPECT_EQ(timeline.interval_ns(), 8u);
  EXPECT_EQ(points_of(timeline), (std::vector<Point>{{3, 30, 0}, {8, 7, 0}, {16, 8, 0}}));
}

TEST(UsageTimeline, OfEqualMomentsTheOneWithMoreCommittedStays) {
  UsageTimeline timeline(2, 1);
  timeline.add(0, 5, 0, std::array<uint64_t, 1>{5});
  timeline.add(0, 5, 9, std::array<uint64_t, 1>{5});
  timeline.add(0, 5, 8, std::array<uint64_t, 1>{5});
  EXPECT_EQ(points_of(timeline), (std::vector<Point>{{0, 5, 9}}));
}

TEST(UsageTimeline, TimeMayEndWhereNumbersDo) {
  UsageTimeline timeline(512, 1);
  timeline.add(0, 1, 0, std::array<uint64_t, 1>{1});
  timeline.add(UINT64_MAX, 2, 0, std::array<uint64_t, 1>{2});
  const std::vector<Point> points = points_of(timeline);
  ASSERT_EQ(points.size(), 512u);
  EXPECT_EQ(points.back(), (Point{UINT64_MAX, 2, 0}));
  EXPECT_EQ(points[510].live, 1u);
}

// Every interval by looking at every event again.
TEST(UsageTimeline, AgreesWithAllEventsWhenTimeIsRandom) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Random random(seed);
    const size_t points = 2 * random.size(32);
    UsageTimeline timeline(points, 2);
    std::vector<Point> events = {{0, 0, 0}};
    for (int i = 0; i < 300; ++i) {
      const uint64_t time = events.back().time_ns + random.below(20);
      const uint64_t a = random.below(50);
      const uint64_t b = random.below(50);
      events.push_back({time, a + b, random.below(100)});
      timeline.add(time, a + b, events.back().committed, std::array{a, b});
    }
    const std::vector<MemoryMoment> moments = timeline.moments();
    const uint64_t interval = timeline.interval_ns();
    ASSERT_EQ(moments.size(), events.back().time_ns / interval + 1);
    EXPECT_LE(moments.size(), points);
    for (size_t i = 0; i < moments.size(); ++i) {
      uint64_t most = 0;
      for (size_t e = 0; e < events.size(); ++e) {
        const uint64_t until = e + 1 < events.size() ? events[e + 1].time_ns : UINT64_MAX;
        const bool touches = events[e].time_ns < (i + 1) * interval &&
                             (until > i * interval || events[e].time_ns >= i * interval);
        if (touches) most = std::max(most, events[e].live);
      }
      EXPECT_EQ(moments[i].live_bytes, most) << seed << " " << i;
      EXPECT_EQ(moments[i].bytes_by_tag[0] + moments[i].bytes_by_tag[1], most);
      EXPECT_EQ(moments[i].time_ns / interval, i);
    }
  }
}

}  // namespace
}  // namespace lobit::detail
