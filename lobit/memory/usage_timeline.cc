#include <algorithm>

#include "lobit/memory/usage_timeline_internal.h"

namespace lobit::detail {

UsageTimeline::UsageTimeline(size_t points, size_t tags)
    : points_(points), width_(kTags + tags), rows_((points + 1) * width_) {}

void UsageTimeline::add(uint64_t time_ns, uint64_t live, uint64_t committed,
                        std::span<const uint64_t> bytes_by_tag) {
  while (time_ns >> shift_ >= points_) halve();
  const auto interval = static_cast<size_t>(time_ns >> shift_);
  for (; used_ <= interval; ++used_) {
    copy(points_, used_);
    row(used_)[kTime] = uint64_t{used_} << shift_;
  }
  const std::span<uint64_t> now = row(points_);
  now[kTime] = time_ns;
  now[kLive] = live;
  now[kCommitted] = committed;
  std::ranges::copy(bytes_by_tag, now.begin() + kTags);
  if (is_more(points_, interval)) copy(points_, interval);
}

std::vector<MemoryMoment> UsageTimeline::moments() const {
  std::vector<MemoryMoment> moments;
  moments.reserve(used_);
  for (size_t i = 0; i < used_; ++i) {
    const auto from = std::span(rows_).subspan(i * width_, width_);
    moments.push_back({from[kTime], from[kLive], from[kCommitted], {from.begin() + kTags, from.end()}});
  }
  return moments;
}

bool UsageTimeline::is_more(size_t place, size_t than) const {
  const uint64_t* a = rows_.data() + place * width_;
  const uint64_t* b = rows_.data() + than * width_;
  return a[kLive] > b[kLive] || (a[kLive] == b[kLive] && a[kCommitted] > b[kCommitted]);
}

void UsageTimeline::copy(size_t from, size_t to) {
  if (from != to) std::ranges::copy(row(from), row(to).begin());
}

void UsageTimeline::clear() {
  std::ranges::fill(rows_, uint64_t{0});
  used_ = 0;
  shift_ = 0;
}

void UsageTimeline::halve() {
  for (size_t i = 0; i < used_; i += 2) {
    copy(i + 1 < used_ && is_more(i + 1, i) ? i + 1 : i, i / 2);
  }
  used_ = (used_ + 1) / 2;
  ++shift_;
}

}  // namespace lobit::detail
