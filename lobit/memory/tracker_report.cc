// What a tracker tells: statistics, leaks and profiles.
#include <algorithm>
#include <cmath>
#include <map>
#include <new>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/call_stack.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/memory_patterns_internal.h"
#include "lobit/memory/tracker_internal.h"

namespace lobit::detail {
namespace {

std::vector<std::string> tag_names() {
  std::vector<std::string> names;
  for (size_t tag = 0; tag < memory_tag_count(); ++tag) {
    names.emplace_back(memory_tag_name(static_cast<MemoryTag>(tag)));
  }
  return names;
}

// The pool that the wrappers stand on, if it is one that has a limit.
const HybridMemoryPool* pool_below(const MemoryResource& resource) {
  const MemoryResource* below = &resource;
  while (const auto* const wrapper = dynamic_cast<const ResourceWrapper*>(below))
    below = &wrapper->upstream();
  return dynamic_cast<const HybridMemoryPool*>(below);
}

uint64_t positive(int64_t value) {
  return static_cast<uint64_t>(std::max<int64_t>(value, 0));
}

}  // namespace

std::vector<StackTrace> StackNumbers::traces() const {
  std::vector<StackTrace> traces = stack_traces(ids_);
  traces.insert(traces.begin(), StackTrace());
  return traces;
}

TrackingStatistics Tracker::statistics() {
  TrackingStatistics result;
  {
    const std::lock_guard lock(mutex_);
    take_over_all();
    const Counts counts = sum();
    result.live_bytes = positive(live_);
    result.live_blocks = positive(live_blocks(counts));
    result.peak_bytes = positive(peak_live_);
    result.allocations = counts[kAllocations];
    result.deallocations = counts[kDeallocations];
    result.allocated_bytes = counts[kAllocatedBytes];
    result.refused_allocations = counts[kRefusedAllocations];
    result.refused_deallocations = counts[kRefusedDeallocations];
    result.unrecorded_blocks = counts[kUnrecorded];
    std::copy_n(counts.begin() + kSizes, kDoublings, result.sizes.begin());
    std::copy_n(counts.begin() + kLifetimes, kDoublings, result.lifetimes.begin());
    const ByTag split = split_by_tag();
    for (size_t tag = 0; tag < memory_tag_count(); ++tag) {
      if (peak_by_tag_[tag] == 0) continue;
      result.tags.push_back(
          {.tag = static_cast<MemoryTag>(tag), .live_bytes = split[tag], .peak_bytes = peak_by_tag_[tag]});
    }
  }
  result.allocate_latency = allocate_latency_.latency();
  result.free_latency = free_latency_.latency();
  result.recorded_blocks = records_.count();
  result.own_bytes = own_bytes();
  return result;
}

uint64_t Tracker::own_bytes() {
  uint64_t bytes = sizeof(*this) + records_.bytes();
  const std::lock_guard lock(mutex_);
  bytes += threads_.size() * sizeof(ThreadTracks) + at_peak_.capacity() * sizeof(Holding);
  if (timeline_) bytes += timeline_->bytes();
  return bytes;
}

// ---- Holders.

std::vector<Tracker::Holding> Tracker::holdings() {
  std::map<std::pair<MemoryTag, uint32_t>, Holding> found;
  records_.for_each([&](const BlockRecord& record) {
    const auto key = std::pair(record.tag, uint32_t{record.stack});
    Holding& holding = found.try_emplace(key, Holding{key.first, key.second, 0, 0}).first->second;
    holding.bytes += static_cast<uint64_t>(weight(record));
    holding.blocks += blocks_of(record);
  });
  std::vector<Holding> result;
  result.reserve(found.size());
  for (const auto& [key, holding] : found) result.push_back(holding);
  std::ranges::sort(result, [](const Holding& a, const Holding& b) { return a.bytes > b.bytes; });
  return result;
}

// An error is told as it is where there is no memory to say more.
Error Tracker::with_holders(TrackingLevel level, Error error) {
  const bool is_short = error.code == ErrorCode::kOutOfMemory || error.code == ErrorCode::kLimit;
  if (level < TrackingLevel::kStandard || !is_short) return error;
  try {
    error.message += names_of_holders(level);
  } catch (const std::bad_alloc&) {
    return error;
  }
  return error;
}

std::string Tracker::names_of_holders(TrackingLevel level) {
  struct Held {
    uint64_t bytes = 0;
    double blocks = 0;
    size_t tag = 0;
  };
  std::array<Held, kMaxMemoryTags> held{};
  for (size_t tag = 0; tag < held.size(); ++tag) held[tag].tag = tag;
  for (const Holding& holding : holdings()) {
    held[static_cast<size_t>(holding.tag)].bytes += holding.bytes;
    held[static_cast<size_t>(holding.tag)].blocks += holding.blocks;
  }
  std::ranges::sort(held, [](const Held& a, const Held& b) { return a.bytes > b.bytes; });
  constexpr size_t kNamed = 3;
  std::string text;
  for (size_t i = 0; i < kNamed && held[i].bytes > 0; ++i) {
    const int64_t blocks = std::llround(held[i].blocks);
    const std::string_view before = i > 0                               ? ", "
                                    : level == TrackingLevel::kDetailed ? "; held by "
                                                                        : "; held by about ";
    text += fmt::format("{}{}: {} bytes in {} block{}", before,
                        memory_tag_name(static_cast<MemoryTag>(held[i].tag)), held[i].bytes, blocks,
                        blocks == 1 ? "" : "s");
  }
  return text;
}

// ---- Leaks.

std::vector<BlockRecord> Tracker::records_of(std::chrono::nanoseconds age) {
  const uint64_t now = now_ns();
  const uint64_t least = positive(age.count());
  std::vector<BlockRecord> found;
  records_.for_each([&](const BlockRecord& record) {
    if (now - std::min(record.time_ns, now) >= least) found.push_back(record);
  });
  std::ranges::sort(found, [](const BlockRecord& a, const BlockRecord& b) {
    return std::pair(b.bytes, a.time_ns) < std::pair(a.bytes, b.time_ns);
  });
  return found;
}

LeakReport Tracker::leaks(std::chrono::nanoseconds age) {
  LeakReport report;
  StackNumbers stacks;
  add_leaks(report, stacks, records_of(age));
  report.stacks = stacks.traces();
  report.tags = tag_names();  // last: what is known by now has all that the blocks have
  return report;
}

void Tracker::add_leaks(LeakReport& report, StackNumbers& stacks, const std::vector<BlockRecord>& found) {
  const std::string device = device_name(upstream_.device());
  const uint64_t now = now_ns();
  const uint64_t begin = [&] {
    const std::lock_guard lock(mutex_);
    return begin_ns_;
  }();
  double blocks = 0;
  report.is_estimate = has_samples_.load(std::memory_order_relaxed);
  for (const BlockRecord& record : found) {
    report.bytes += static_cast<uint64_t>(weight(record));
    blocks += blocks_of(record);
    report.is_estimate |= record.is_sampled;
    if (report.largest.size() == MemoryProfile::kMostUnfreed) continue;
    report.largest.push_back({.address = reinterpret_cast<uintptr_t>(record.pointer),
                              .bytes = record.bytes,
                              .time_ns = record.time_ns - std::min(record.time_ns, begin),
                              .age_ns = now - std::min(record.time_ns, now),
                              .thread = record.thread,
                              .tag = static_cast<uint32_t>(record.tag),
                              .stack = stacks.number_of(record.stack),
                              .device = device});
  }
  report.blocks = static_cast<uint64_t>(std::llround(blocks));
}

void Tracker::tell_user(const LeakReport& report) const {
  try {
    options_.leaks.report(report);
  } catch (...) {
    return;  // told
  }
}

NextTurn Tracker::take_turn() {
  try {
    uint64_t bytes = 0;
    for (const BlockRecord& record : records_of(options_.leaks.age)) {
      bytes += static_cast<uint64_t>(weight(record));
    }
    if (bytes > leaked_bytes_.exchange(bytes)) tell_user(leaks(options_.leaks.age));
  } catch (const std::bad_alloc&) {
    return NextTurn::kAfterPeriod;  // memory is short: the next scan will tell
  }
  return NextTurn::kAfterPeriod;
}

// ---- Profiles.

std::vector<MemoryHolder> Tracker::holders_of(const std::vector<Holding>& found, StackNumbers& stacks) {
  std::vector<MemoryHolder> list;
  list.reserve(found.size());
  for (const Holding& holding : found) {
    list.push_back({.tag = static_cast<uint32_t>(holding.tag),
                    .stack = stacks.number_of(holding.stack),
                    .bytes = holding.bytes,
                    .blocks = static_cast<uint64_t>(std::llround(holding.blocks))});
  }
  return list;
}

void Tracker::add_counts(MemoryProfile& profile, const TrackingStatistics& statistics) const {
  profile.allocations = statistics.allocations;
  profile.frees = statistics.deallocations;
  profile.refused = statistics.refused_allocations;
  profile.allocated_bytes = statistics.allocated_bytes;
  profile.live_bytes = statistics.live_bytes;
  profile.live_blocks = statistics.live_blocks;
  profile.sizes = statistics.sizes;
  profile.lifetimes = statistics.lifetimes;
  if (statistics.allocate_latency.timed > 0) profile.allocate_latency = statistics.allocate_latency;
  if (statistics.free_latency.timed > 0) profile.free_latency = statistics.free_latency;
}

// What happened in time, which wants the lock. Moments have a number for every tag that there may be.
std::vector<Tracker::Holding> Tracker::add_times(MemoryProfile& profile) {
  const std::lock_guard lock(mutex_);
  const Counts counts = sum();
  profile.duration_ns = now_ns() - begin_ns_;
  const uint64_t ended =
      std::accumulate(counts.begin() + kLifetimes, counts.begin() + kLargeLifetimes, uint64_t{0});
  if (ended > 0) {
    profile.mean_lifetime_ns = static_cast<double>(counts[kLifetimeNs]) / static_cast<double>(ended);
  }
  profile.threads = threads_.size();
  profile.peak = {.time_ns = peak_time_ns_ - begin_ns_,
                  .live_bytes = positive(peak_live_),
                  .committed = peak_committed_,
                  .bytes_by_tag = {peak_split_.begin(), peak_split_.end()}};
  profile.peak_by_tag.assign(peak_by_tag_.begin(), peak_by_tag_.end());
  if (timeline_) {
    profile.timeline = timeline_->moments();
    const ByTag now = split_by_tag();
    profile.timeline.push_back({.time_ns = profile.duration_ns,
                                .live_bytes = positive(live_),
                                .committed = committed_.load(std::memory_order_relaxed),
                                .bytes_by_tag = {now.begin(), now.end()}});
  }
  profile.patterns =
      short_lived_patterns(std::span(counts).subspan(kLargeLifetimes, kDoublings), profile.duration_ns);
  return at_peak_;
}

// What there is to act on; of repeating sizes, regrowth and small blocks only a trace tells.
void Tracker::add_patterns(MemoryProfile& profile) {
  const auto add = [&profile](std::vector<MemoryPattern> found) {
    for (MemoryPattern& pattern : found) profile.patterns.push_back(std::move(pattern));
  };
  add(growth_patterns(profile));
  const auto moment = [&](uint64_t committed, uint64_t live,
                          uint64_t blocks) -> std::optional<CommittedMoment> {
    if (committed == 0) return std::nullopt;
    return CommittedMoment{committed, live, blocks};
  };
  uint64_t blocks_at_peak = 0;
  for (const MemoryHolder& holder : profile.at_peak) blocks_at_peak += holder.blocks;
  const uint64_t committed_now = profile.fragmentation ? profile.fragmentation->committed : 0;
  add(fragmentation_patterns(moment(profile.peak.committed, profile.peak.live_bytes, blocks_at_peak),
                             moment(committed_now, profile.live_bytes, profile.live_blocks)));
}

MemoryProfile Tracker::profile() {
  MemoryProfile result;
  result.name = options_.name;
  const TrackingStatistics counted = statistics();
  add_counts(result, counted);
  StackNumbers stacks;
  const std::vector<Holding> at_peak = add_times(result);
  const std::vector<Holding> now = holdings();
  result.at_end = holders_of(now, stacks);
  result.at_peak = holders_of(counted.live_bytes == counted.peak_bytes ? now : at_peak, stacks);
  LeakReport unfreed;
  add_leaks(unfreed, stacks, records_of({}));
  result.unfreed = std::move(unfreed.largest);
  result.is_estimate = unfreed.is_estimate;
  result.fragmentation = upstream_.fragmentation();
  result.peak_committed = upstream_.usage().peak_committed;
  if (const auto* const pool = pool_below(upstream_); pool != nullptr && pool->options().limit != kNoLimit) {
    result.limit = pool->options().limit;
  }
  add_patterns(result);
  result.stacks = stacks.traces();
  // Last: the tags that there are by now have all that was found.
  result.tags = tag_names();
  result.peak.bytes_by_tag.resize(result.tags.size());
  result.peak_by_tag.resize(result.tags.size());
  for (MemoryMoment& moment : result.timeline) moment.bytes_by_tag.resize(result.tags.size());
  return result;
}

}  // namespace lobit::detail
