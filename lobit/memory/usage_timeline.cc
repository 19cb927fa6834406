#include <algorithm>
#include <new>
#include <utility>

#include "lobit/memory/usage_timeline_internal.h"

namespace lobit::detail {
namespace {

void set(MemoryMoment& moment, uint64_t time_ns, uint64_t live_bytes, uint64_t committed,
         std::span<const uint64_t> by_tag) {
  moment.bytes_by_tag.assign(by_tag.begin(), by_tag.end());
  moment.time_ns = time_ns;
  moment.live_bytes = live_bytes;
  moment.committed = committed;
}

}  // namespace

void UsageTimeline::add(uint64_t time_ns, uint64_t live_bytes, uint64_t committed,
                        std::span<const uint64_t> by_tag) {
  try {
    const auto is_new = [&] {
      return intervals_.empty() || intervals_.back().index != time_ns / interval_ns_;
    };
    while (is_new() && intervals_.size() >= most_) double_intervals();
    if (is_new()) {
      Interval interval{.index = time_ns / interval_ns_, .most = {}, .last = {}};
      set(interval.most, time_ns, live_bytes, committed, by_tag);
      interval.last = interval.most;
      intervals_.push_back(std::move(interval));
      return;
    }
    Interval& interval = intervals_.back();
    if (live_bytes > interval.most.live_bytes) set(interval.most, time_ns, live_bytes, committed, by_tag);
    set(interval.last, time_ns, live_bytes, committed, by_tag);
  } catch (const std::bad_alloc&) {
    return;
  }
}

void UsageTimeline::double_intervals() {
  interval_ns_ *= 2;
  size_t kept = 0;
  for (size_t i = 0; i < intervals_.size(); ++i) {
    Interval& interval = intervals_[i];
    interval.index /= 2;
    if (kept > 0 && intervals_[kept - 1].index == interval.index) {
      Interval& before = intervals_[kept - 1];
      if (interval.most.live_bytes > before.most.live_bytes) before.most = std::move(interval.most);
      before.last = std::move(interval.last);
      continue;
    }
    if (kept != i) intervals_[kept] = std::move(interval);
    ++kept;
  }
  intervals_.resize(kept);
}

std::vector<MemoryMoment> UsageTimeline::moments(size_t tags) const {
  std::vector<MemoryMoment> moments;
  moments.reserve(intervals_.size() * 2);
  for (const Interval& interval : intervals_) {
    moments.push_back(interval.most);
    if (interval.last.time_ns != interval.most.time_ns) moments.push_back(interval.last);
  }
  for (MemoryMoment& moment : moments) moment.bytes_by_tag.resize(tags);
  return moments;
}

uint64_t UsageTimeline::bytes() const {
  uint64_t bytes = intervals_.capacity() * sizeof(Interval);
  for (const Interval& interval : intervals_) {
    bytes +=
        (interval.most.bytes_by_tag.capacity() + interval.last.bytes_by_tag.capacity()) * sizeof(uint64_t);
  }
  return bytes;
}

}  // namespace lobit::detail
