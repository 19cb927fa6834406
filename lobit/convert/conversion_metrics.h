// ConversionMetrics: what an engine's events add up to. A snapshot; a plain value.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/convert/conversion_strategy.h"
#include "lobit/device/device.h"
#include "lobit/dtype/dtype.h"

namespace lobit {

// Conversions that have something in common.
struct ConversionCounts {
  uint64_t successes = 0;
  uint64_t failures = 0;
  std::chrono::nanoseconds total_time = {};
  std::chrono::nanoseconds min_time = {};  // 0 when there is none
  std::chrono::nanoseconds max_time = {};
  uint64_t input_bytes = 0;   // of the successes
  uint64_t output_bytes = 0;  // of the successes

  uint64_t usage_count() const { return successes + failures; }
  double success_rate() const { return percent(successes, usage_count()); }  // percent; 0 when there is none
  double average_time_ms() const { return usage_count() == 0 ? 0 : ms(total_time) / double(usage_count()); }
  double min_time_ms() const { return ms(min_time); }
  double max_time_ms() const { return ms(max_time); }
  // Stored bytes of the sources to those of the results; 1 when there is none.
  double average_compression_ratio() const {
    return output_bytes == 0 ? 1 : double(input_bytes) / double(output_bytes);
  }

  static double percent(uint64_t part, uint64_t whole) {
    return whole == 0 ? 0 : 100.0 * double(part) / double(whole);
  }

 private:
  static double ms(std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::milli>(time).count();
  }
};

// Nothing stands for an encoding that no dtype has.
struct DTypePair {
  std::optional<DType> from;
  std::optional<DType> to;

  friend auto operator<=>(const DTypePair&, const DTypePair&) = default;
};

struct ConversionErrorCounts {
  uint64_t memory = 0;       // kOutOfMemory, kLimit
  uint64_t unsupported = 0;
  uint64_t device = 0;
  uint64_t data_loss = 0;
  uint64_t cancelled = 0;
  uint64_t other = 0;
  double error_rate = 0;  // percent of all conversions

  uint64_t total() const { return memory + unsupported + device + data_loss + cancelled + other; }
};

struct ConversionMemory {
  uint64_t current_usage = 0;      // bytes that the engine holds now
  uint64_t peak_memory_usage = 0;  // the most that it held
  uint64_t allocated_bytes = 0;    // asked of the memory resource, added up
  uint64_t result_bytes = 0;       // of those, in results that were handed out
  double zero_copy_percent = 0;    // of all conversions
  double in_place_percent = 0;
};

struct ConversionLatency {
  double p50_ms = 0;  // of the events that are kept
  double p95_ms = 0;
  double p99_ms = 0;
};

// Work that pipelines did, whose conversions are among the others too.
struct PipelineWork {
  uint64_t executions = 0;
  uint64_t stages = 0;      // carried out or remembered
  uint64_t cache_hits = 0;
};

struct LOBIT_API ConversionMetrics {
  uint64_t total_conversions = 0;  // successes and failures, of all entry points
  uint64_t successes = 0;
  uint64_t failures = 0;
  std::chrono::nanoseconds total_time = {};
  uint64_t input_bytes = 0;   // of the successes
  uint64_t output_bytes = 0;

  std::map<ConversionStrategy, ConversionCounts> strategy_metrics;  // those that were used
  std::map<DTypePair, ConversionCounts> dtype_metrics;
  std::vector<std::pair<Device, ConversionCounts>> device_metrics;
  ConversionErrorCounts error_stats;
  ConversionMemory memory_stats;
  ConversionLatency performance;
  PipelineWork pipelines;

  double success_rate() const { return ConversionCounts::percent(successes, total_conversions); }
  double average_time_ms() const;
  double throughput_bytes_per_sec() const;  // source bytes to time; 0 when there is none
  std::optional<ConversionStrategy> most_used_strategy() const;
  std::optional<ConversionStrategy> fastest_strategy() const;  // by mean time
};

}  // namespace lobit
