// UsageTimeline: what was live over time, in memory that is taken once: a fixed number of intervals of equal
// length, which double when time runs out of them. Each keeps the moment at which most was live in it. Owned
// by what draws a profile, which locks it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lobit/memory/memory_profile.h"

namespace lobit::detail {

class UsageTimeline {
 public:
  // `points`: at least 2. Takes 8 x points x (3 + tags) bytes.
  UsageTimeline(size_t points, size_t tags);

  // What is live from `time_ns` on; `live` is the sum of `bytes_by_tag`, which has a number for each tag.
  // Times never fall. What is live before the first call is nothing. Allocates nothing.
  void add(uint64_t time_ns, uint64_t live, uint64_t committed, std::span<const uint64_t> bytes_by_tag);

  // As it was made.
  void clear();

  // One for each interval from time 0 to the last call: the moment of most live bytes, of equal ones that
  // with most committed, of equal ones the first. An interval in which nothing happened has what was live
  // when it began.
  std::vector<MemoryMoment> moments() const;

  uint64_t bytes() const { return rows_.size() * sizeof(uint64_t); }
  uint64_t interval_ns() const { return uint64_t{1} << shift_; }

 private:
  // Rows: intervals, and as the last one what is live now.
  enum Column : size_t { kTime, kLive, kCommitted, kTags };

  std::span<uint64_t> row(size_t place) { return std::span(rows_).subspan(place * width_, width_); }
  bool is_more(size_t place, size_t than) const;
  void copy(size_t from, size_t to);
  void halve();

  size_t points_;
  size_t width_;
  std::vector<uint64_t> rows_;
  size_t used_ = 0;     // intervals that began
  unsigned shift_ = 0;  // an interval has 2^shift_ ns
};

}  // namespace lobit::detail
