// For tests alone (not installed): an operation whose memory is counted, and made to fail.
#pragma once

#include <cstdint>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/statistics_resource.h"

namespace lobit {

// Calls operation(memory), which returns a Result, once for each allocation that it makes, which fails then,
// and once more without a failure. Checks that a failure is what the operation returns and that nothing stays
// allocated; returns what the last call did. `after_failure` looks at what a failed operation left.
template <typename Operation, typename AfterFailure>
AllocationStatistics fail_each_allocation(const Operation& operation, const AfterFailure& after_failure) {
  const auto pool = HybridMemoryPool::create().value();
  for (uint64_t number = 1;; ++number) {
    StatisticsResource counted(*pool);
    FailingResource memory(counted, {.number = number});
    const auto result = operation(memory);
    EXPECT_EQ(counted.statistics().live_blocks, 0u) << "allocation " << number;
    EXPECT_EQ(counted.statistics().refused_deallocations, 0u) << "allocation " << number;
    if (memory.failures() == 0) {
      EXPECT_THAT(result, is_ok());
      return counted.statistics();
    }
    EXPECT_THAT(result, fails_with(ErrorCode::kOutOfMemory)) << "allocation " << number;
    after_failure();
  }
}

}  // namespace lobit
