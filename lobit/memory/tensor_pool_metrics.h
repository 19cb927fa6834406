// What a tensor pool did, from counters at the source. Plain values.
#pragma once

#include <array>
#include <cstdint>

#include "lobit/memory/tensor_size_category.h"

namespace lobit {

struct TensorCategoryMetrics {
  uint64_t allocations = 0;
  uint64_t hits = 0;
  // A running mean: what was measured about 1000 allocations ago counts half.
  double recent_allocation_ns = 0;

  friend bool operator==(const TensorCategoryMetrics&, const TensorCategoryMetrics&) = default;
};

// Counts are exact; allocations = hits + misses. Times are those of the first 16 allocations of each
// category, of every 16th later one and of every miss, weighted to stand for all; waiting to enter the pool
// is not in them, but for the second time that a miss does, when it has its block; reading the clock (20 to
// 40 ns) is. The mean is the mean of these; the 99th percentile is
// at most 1/8 above that of these.
struct TensorPoolMetrics {
  uint64_t allocations = 0;
  uint64_t deallocations = 0;
  uint64_t hits = 0;            // served from a block that the pool had
  uint64_t reuses = 0;          // hits on a block that an earlier tensor had; the others were taken ahead
  uint64_t prewarmed = 0;       // blocks taken ahead at the start
  uint64_t prewarmed_used = 0;  // of these, how many a tensor got
  uint64_t prefetched = 0;      // blocks taken ahead by begin_step()
  uint64_t released = 0;        // blocks given back because there were too many or they were stale
  uint64_t trimmed = 0;         // blocks given back by trim(), or for a tensor that else had no room

  uint64_t live_tensors = 0;
  uint64_t live_bytes = 0;      // of live tensors, as asked
  uint64_t live_capacity = 0;   // of the blocks that they have
  uint64_t retained_bytes = 0;  // of blocks that wait for a tensor
  uint64_t retained_blocks = 0;
  uint64_t peak_bytes = 0;  // the most that the pool held: live_capacity + retained_bytes

  double mean_allocation_ns = 0;
  uint64_t p99_allocation_ns = 0;
  std::array<TensorCategoryMetrics, kTensorSizeCategories> categories;

  double hit_rate() const { return rate(hits, allocations); }
  double reuse_rate() const { return rate(reuses, allocations); }

  // 0 of nothing.
  static double rate(uint64_t part, uint64_t whole) {
    return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
  }
};

}  // namespace lobit
