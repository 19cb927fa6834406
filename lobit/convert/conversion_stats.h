// ConversionStats: takes in events and adds them up. Keeps the last 1000 events and counters of fixed size, so
// any number of events takes the same memory. Any thread may call anything.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/convert/conversion_event.h"
#include "lobit/convert/conversion_metrics.h"

namespace lobit {

class LOBIT_API ConversionStats {
 public:
  static constexpr size_t kEventCapacity = 1000;

  ConversionStats();

  // Gives the event its number and, from the steady clock, the time of day.
  void record(ConversionEvent event, std::chrono::steady_clock::time_point started);
  void record_pipeline(uint64_t stages, uint64_t cache_hits);

  // Everything but memory_stats' usages, which the engine knows.
  ConversionMetrics metrics() const;
  // The last `count` events, the oldest first.
  std::vector<ConversionEvent> recent_events(size_t count) const;
  // All counters to zero, no events.
  void clear();

 private:
  static constexpr size_t kDTypes = 9;    // the last stands for encodings without one
  static constexpr size_t kDevices = 16;  // the last stands for all that follow

  struct DeviceCounts {
    Device device;
    ConversionCounts counts;
  };
  // What metrics() is made of.
  struct Totals {
    ConversionCounts all;
    std::array<ConversionCounts, kConversionStrategyCount> strategies;
    std::array<std::array<ConversionCounts, kDTypes>, kDTypes> dtypes;
    std::array<DeviceCounts, kDevices> devices;
    size_t device_count = 0;
    ConversionErrorCounts errors;
    uint64_t allocated_bytes = 0;
    uint64_t result_bytes = 0;
    PipelineWork pipelines;
  };

  ConversionCounts& of_device(Device device);
  void count_error(ErrorCode code);
  ConversionLatency latency() const;

  // Two clocks at the same moment, so that an event costs no look at the second.
  const std::chrono::system_clock::time_point day_origin_ = std::chrono::system_clock::now();
  const std::chrono::steady_clock::time_point steady_origin_ = std::chrono::steady_clock::now();

  mutable std::mutex mutex_;
  std::vector<ConversionEvent> events_;  // a ring; event number n lies at (n - 1) % kEventCapacity
  uint64_t recorded_ = 0;
  Totals totals_;
};

}  // namespace lobit
