// UsageTimeline: how much was live over time, in memory that does not grow with time. Keeps two moments of
// each interval, the one with most live bytes and the last; when there are too many, intervals become twice
// as long. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lobit/memory/memory_profile.h"

namespace lobit::detail {

class UsageTimeline {
 public:
  // Of at most `most_intervals` intervals, at least 1.
  explicit UsageTimeline(size_t most_intervals) : most_(most_intervals) {}

  // Moments come in the order of time; `by_tag` has one entry for each tag and may be longer than those
  // before. Allocates now and then; what finds no memory is left out.
  void add(uint64_t time_ns, uint64_t live_bytes, uint64_t committed, std::span<const uint64_t> by_tag);

  // Ascending; all with `tags` entries.
  std::vector<MemoryMoment> moments(size_t tags) const;
  uint64_t bytes() const;

 private:
  struct Interval {
    uint64_t index;
    MemoryMoment most;
    MemoryMoment last;
  };

  void double_intervals();

  size_t most_;
  uint64_t interval_ns_ = 1;
  std::vector<Interval> intervals_;
};

}  // namespace lobit::detail
