#include "lobit/convert/conversion_stats.h"

#include <algorithm>
#include <utility>

namespace lobit {
namespace {

size_t dtype_index(std::optional<DType> dtype) {
  constexpr size_t kNone = 8;
  return dtype ? static_cast<size_t>(*dtype) : kNone;
}

std::optional<DType> dtype_at(size_t index) {
  return index < 8 ? std::optional(static_cast<DType>(index)) : std::nullopt;
}

void add(ConversionCounts& counts, const ConversionEvent& event) {
  const bool first = counts.usage_count() == 0;
  counts.total_time += event.duration;
  counts.min_time = first ? event.duration : std::min(counts.min_time, event.duration);
  counts.max_time = std::max(counts.max_time, event.duration);
  if (!event.success) {
    ++counts.failures;
    return;
  }
  ++counts.successes;
  counts.input_bytes += event.input_bytes;
  counts.output_bytes += event.output_bytes;
}

}  // namespace

double ConversionMetrics::average_time_ms() const {
  if (total_conversions == 0) return 0;
  return std::chrono::duration<double, std::milli>(total_time).count() /
         static_cast<double>(total_conversions);
}

double ConversionMetrics::throughput_bytes_per_sec() const {
  const double seconds = std::chrono::duration<double>(total_time).count();
  return seconds > 0 ? static_cast<double>(input_bytes) / seconds : 0;
}

std::optional<ConversionStrategy> ConversionMetrics::most_used_strategy() const {
  const auto most = std::ranges::max_element(
      strategy_metrics, {}, [](const auto& entry) { return entry.second.usage_count(); });
  return most == strategy_metrics.end() ? std::nullopt : std::optional(most->first);
}

std::optional<ConversionStrategy> ConversionMetrics::fastest_strategy() const {
  const auto fastest = std::ranges::min_element(
      strategy_metrics, {}, [](const auto& entry) { return entry.second.average_time_ms(); });
  return fastest == strategy_metrics.end() ? std::nullopt : std::optional(fastest->first);
}

// The ring is there from the start, so that recording a success allocates nothing.
ConversionStats::ConversionStats() : events_(kEventCapacity) {}

void ConversionStats::record(ConversionEvent event, std::chrono::steady_clock::time_point started) {
  event.started = day_origin_ + std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                    started - steady_origin_);
  const std::lock_guard lock(mutex_);
  add(totals_.all, event);
  add(totals_.strategies[static_cast<size_t>(event.strategy)], event);
  add(totals_.dtypes[dtype_index(event.source_dtype)][dtype_index(event.target_dtype)], event);
  add(of_device(event.device), event);
  if (!event.success) count_error(event.error_code);
  totals_.allocated_bytes += event.allocated_bytes;
  if (event.success && event.allocated_bytes > 0) {
    totals_.result_bytes += std::min(event.allocated_bytes, event.output_bytes);
  }
  event.number = ++recorded_;
  events_[(event.number - 1) % kEventCapacity] = std::move(event);
}

void ConversionStats::record_pipeline(uint64_t stages, uint64_t cache_hits) {
  const std::lock_guard lock(mutex_);
  ++totals_.pipelines.executions;
  totals_.pipelines.stages += stages;
  totals_.pipelines.cache_hits += cache_hits;
}

ConversionCounts& ConversionStats::of_device(Device device) {
  for (size_t i = 0; i < totals_.device_count; ++i) {
    if (totals_.devices[i].device == device) return totals_.devices[i].counts;
  }
  if (totals_.device_count == kDevices) return totals_.devices.back().counts;
  DeviceCounts& fresh = totals_.devices[totals_.device_count++];
  fresh.device = device;
  return fresh.counts;
}

void ConversionStats::count_error(ErrorCode code) {
  ConversionErrorCounts& errors = totals_.errors;
  switch (code) {
    case ErrorCode::kOutOfMemory:
    case ErrorCode::kLimit:
      ++errors.memory;
      return;
    case ErrorCode::kUnsupported:
      ++errors.unsupported;
      return;
    case ErrorCode::kDevice:
      ++errors.device;
      return;
    case ErrorCode::kDataLoss:
      ++errors.data_loss;
      return;
    case ErrorCode::kCancelled:
      ++errors.cancelled;
      return;
    default:
      ++errors.other;
  }
}

// Called with the lock held.
ConversionLatency ConversionStats::latency() const {
  const size_t kept = static_cast<size_t>(std::min<uint64_t>(recorded_, kEventCapacity));
  if (kept == 0) return {};
  std::vector<double> times(kept);
  for (size_t i = 0; i < kept; ++i) times[i] = events_[i].duration_ms();
  std::ranges::sort(times);
  // The least time that at least this share of the events did not exceed.
  const auto at = [&](size_t percent) { return times[(kept * percent + 99) / 100 - 1]; };
  return {at(50), at(95), at(99)};
}

ConversionMetrics ConversionStats::metrics() const {
  ConversionMetrics m;
  const std::lock_guard lock(mutex_);
  const ConversionCounts& all = totals_.all;
  m.total_conversions = all.usage_count();
  m.successes = all.successes;
  m.failures = all.failures;
  m.total_time = all.total_time;
  m.input_bytes = all.input_bytes;
  m.output_bytes = all.output_bytes;
  for (size_t i = 0; i < kConversionStrategyCount; ++i) {
    const ConversionCounts& counts = totals_.strategies[i];
    if (counts.usage_count() > 0) m.strategy_metrics.emplace(static_cast<ConversionStrategy>(i), counts);
  }
  for (size_t from = 0; from < kDTypes; ++from) {
    for (size_t to = 0; to < kDTypes; ++to) {
      const ConversionCounts& counts = totals_.dtypes[from][to];
      if (counts.usage_count() > 0) m.dtype_metrics.emplace(DTypePair{dtype_at(from), dtype_at(to)}, counts);
    }
  }
  for (size_t i = 0; i < totals_.device_count; ++i) {
    m.device_metrics.emplace_back(totals_.devices[i].device, totals_.devices[i].counts);
  }
  m.error_stats = totals_.errors;
  m.error_stats.error_rate = ConversionCounts::percent(all.failures, all.usage_count());
  const auto share = [&](ConversionStrategy strategy) {
    return ConversionCounts::percent(totals_.strategies[static_cast<size_t>(strategy)].usage_count(),
                                     all.usage_count());
  };
  m.memory_stats.zero_copy_percent = share(ConversionStrategy::kZeroCopy);
  m.memory_stats.in_place_percent = share(ConversionStrategy::kInPlace);
  m.memory_stats.allocated_bytes = totals_.allocated_bytes;
  m.memory_stats.result_bytes = totals_.result_bytes;
  m.performance = latency();
  m.pipelines = totals_.pipelines;
  return m;
}

std::vector<ConversionEvent> ConversionStats::recent_events(size_t count) const {
  const std::lock_guard lock(mutex_);
  const auto kept = std::min<uint64_t>({count, recorded_, kEventCapacity});
  std::vector<ConversionEvent> events;
  events.reserve(static_cast<size_t>(kept));
  for (uint64_t n = recorded_ - kept; n < recorded_; ++n) events.push_back(events_[n % kEventCapacity]);
  return events;
}

void ConversionStats::clear() {
  const std::lock_guard lock(mutex_);
  totals_ = {};
  recorded_ = 0;
}

}  // namespace lobit
