#include "lobit/memory/statistics_resource.h"

#include <numeric>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

TEST(StatisticsResource, CountsWhatIsLiveAndTheMostThatWas) {
  SystemResource system;
  StatisticsResource counted(system);
  void* a = *counted.allocate(100);
  void* b = *counted.allocate(200);
  ASSERT_THAT(counted.deallocate(a, 100), is_ok());
  void* c = *counted.allocate(50);
  const AllocationStatistics live = counted.statistics();
  EXPECT_EQ(live.live_bytes, 250u);
  EXPECT_EQ(live.live_blocks, 2u);
  EXPECT_EQ(live.peak_bytes, 300u);
  EXPECT_EQ(live.peak_blocks, 2u);
  EXPECT_EQ(live.allocations, 3u);
  EXPECT_EQ(live.deallocations, 1u);
  EXPECT_EQ(live.allocated_bytes, 350u);

  ASSERT_THAT(counted.deallocate(b, 200), is_ok());
  ASSERT_THAT(counted.deallocate(c, 50), is_ok());
  const AllocationStatistics end = counted.statistics();
  EXPECT_EQ(end.live_bytes, 0u);
  EXPECT_EQ(end.live_blocks, 0u);
  EXPECT_EQ(end.peak_bytes, 300u);
  EXPECT_EQ(end.deallocations, 3u);
}

TEST(StatisticsResource, SortsSizesByPowersOfTwo) {
  SystemResource system;
  StatisticsResource counted(system);
  for (const size_t bytes : {1U, 2U, 3U, 4U, 5U, 8U, 9U, 1024U, 1025U}) {
    ASSERT_THAT(counted.deallocate(*counted.allocate(bytes), bytes), is_ok());
  }
  const AllocationStatistics statistics = counted.statistics();
  EXPECT_EQ(statistics.sizes[0], 1u);   // 1
  EXPECT_EQ(statistics.sizes[1], 1u);   // 2
  EXPECT_EQ(statistics.sizes[2], 2u);   // 3, 4
  EXPECT_EQ(statistics.sizes[3], 2u);   // 5, 8
  EXPECT_EQ(statistics.sizes[4], 1u);   // 9
  EXPECT_EQ(statistics.sizes[10], 1u);  // 1024
  EXPECT_EQ(statistics.sizes[11], 1u);  // 1025
  EXPECT_EQ(std::reduce(statistics.sizes.begin(), statistics.sizes.end()), 9u);
}

TEST(StatisticsResource, CountsRefusalsApart) {
  SystemResource system;
  FailingResource failing(system, {.number = 1});
  StatisticsResource counted(failing);
  EXPECT_FALSE(counted.allocate(100));
  EXPECT_FALSE(counted.allocate(0));
  void* block = *counted.allocate(100);
  EXPECT_FALSE(counted.deallocate(block, 99));
  EXPECT_FALSE(counted.deallocate(nullptr, 100));
  const AllocationStatistics statistics = counted.statistics();
  EXPECT_EQ(statistics.refused_allocations, 2u);
  EXPECT_EQ(statistics.refused_deallocations, 2u);
  EXPECT_EQ(statistics.allocations, 1u);
  EXPECT_EQ(statistics.live_bytes, 100u);
  EXPECT_EQ(statistics.live_blocks, 1u);
  EXPECT_EQ(statistics.deallocations, 0u);
  ASSERT_THAT(counted.deallocate(block, 100), is_ok());
}

TEST(StatisticsResource, IsExactAfterThreads) {
  SystemResource system;
  StatisticsResource counted(system);
  constexpr uint64_t kThreads = 4;
  constexpr uint64_t kRounds = 2000;
  std::vector<std::jthread> threads;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint64_t i = 0; i < kRounds; ++i) {
        const size_t bytes = thread + 1;
        ASSERT_THAT(counted.deallocate(*counted.allocate(bytes), bytes), is_ok());
      }
    });
  }
  threads.clear();
  const AllocationStatistics statistics = counted.statistics();
  EXPECT_EQ(statistics.allocations, kThreads * kRounds);
  EXPECT_EQ(statistics.deallocations, kThreads * kRounds);
  EXPECT_EQ(statistics.allocated_bytes, kRounds * (1 + 2 + 3 + 4));
  EXPECT_EQ(statistics.live_bytes, 0u);
  EXPECT_GE(statistics.peak_bytes, 4u);
  EXPECT_LE(statistics.peak_bytes, 1u + 2 + 3 + 4);
  EXPECT_LE(statistics.peak_blocks, kThreads);
  EXPECT_EQ(statistics.sizes[2], 2 * kRounds);
}

}  // namespace
}  // namespace lobit
