#include "lobit/convert/conversion_stats.h"

#include <thread>

#include <gtest/gtest.h>

namespace lobit {
namespace {

ConversionEvent event(int64_t nanoseconds, bool success = true) {
  ConversionEvent e;
  e.duration = std::chrono::nanoseconds(nanoseconds);
  e.success = success;
  e.source_dtype = DType::kF32;
  e.target_dtype = DType::kI8;
  e.input_bytes = 400;
  e.output_bytes = success ? 100 : 0;
  return e;
}

TEST(ConversionStats, KeepsTheLastThousandEvents) {
  ConversionStats stats;
  for (int i = 1; i <= 100'000; ++i) stats.record(event(i), std::chrono::steady_clock::now());
  EXPECT_EQ(stats.metrics().total_conversions, 100'000u);
  const auto all = stats.recent_events(5000);
  ASSERT_EQ(all.size(), ConversionStats::kEventCapacity);
  EXPECT_EQ(all.front().number, 99'001u);
  EXPECT_EQ(all.back().number, 100'000u);
  const auto five = stats.recent_events(5);
  ASSERT_EQ(five.size(), 5u);
  EXPECT_EQ(five.front().number, 99'996u);
}

TEST(ConversionStats, AddsUpTimesAndSizes) {
  ConversionStats stats;
  for (int i = 1; i <= 100; ++i) stats.record(event(i * 1000, i != 50), std::chrono::steady_clock::now());
  const ConversionMetrics m = stats.metrics();
  EXPECT_EQ(m.successes, 99u);
  EXPECT_EQ(m.failures, 1u);
  EXPECT_EQ(m.success_rate(), 99.0);
  EXPECT_DOUBLE_EQ(m.average_time_ms(), 0.0505);
  EXPECT_DOUBLE_EQ(m.throughput_bytes_per_sec(), 99 * 400 / 0.00505);
  const ConversionCounts& counts = m.dtype_metrics.at({DType::kF32, DType::kI8});
  EXPECT_DOUBLE_EQ(counts.min_time_ms(), 0.001);
  EXPECT_DOUBLE_EQ(counts.max_time_ms(), 0.1);
  EXPECT_EQ(counts.average_compression_ratio(), 4.0);
  EXPECT_DOUBLE_EQ(m.performance.p50_ms, 0.050);
  EXPECT_DOUBLE_EQ(m.performance.p95_ms, 0.095);
  EXPECT_DOUBLE_EQ(m.performance.p99_ms, 0.099);
}

TEST(ConversionStats, NamesTheMostUsedAndTheFastestStrategy) {
  ConversionStats stats;
  EXPECT_EQ(stats.metrics().most_used_strategy(), std::nullopt);
  EXPECT_EQ(stats.metrics().fastest_strategy(), std::nullopt);
  const auto record = [&](ConversionStrategy strategy, int64_t time) {
    ConversionEvent e = event(time);
    e.strategy = strategy;
    stats.record(e, std::chrono::steady_clock::now());
  };
  record(ConversionStrategy::kStandard, 100);
  record(ConversionStrategy::kStandard, 100);
  record(ConversionStrategy::kInPlace, 90);
  EXPECT_EQ(stats.metrics().most_used_strategy(), ConversionStrategy::kStandard);
  EXPECT_EQ(stats.metrics().fastest_strategy(), ConversionStrategy::kInPlace);
}

TEST(ConversionStats, ErrorsHaveClasses) {
  ConversionStats stats;
  for (const ErrorCode code : {ErrorCode::kOutOfMemory, ErrorCode::kLimit, ErrorCode::kUnsupported,
                               ErrorCode::kDevice, ErrorCode::kDataLoss, ErrorCode::kCancelled,
                               ErrorCode::kCorrupt, ErrorCode::kInvalidArgument}) {
    ConversionEvent e = event(1, false);
    e.error_code = code;
    stats.record(e, std::chrono::steady_clock::now());
  }
  const ConversionErrorCounts errors = stats.metrics().error_stats;
  EXPECT_EQ(errors.memory, 2u);
  EXPECT_EQ(errors.unsupported, 1u);
  EXPECT_EQ(errors.device, 1u);
  EXPECT_EQ(errors.data_loss, 1u);
  EXPECT_EQ(errors.cancelled, 1u);
  EXPECT_EQ(errors.other, 2u);
  EXPECT_EQ(errors.total(), 8u);
  EXPECT_EQ(errors.error_rate, 100.0);
}

TEST(ConversionStats, ClearForgetsEverything) {
  ConversionStats stats;
  stats.record(event(1), std::chrono::steady_clock::now());
  stats.record_pipeline(3, 2);
  EXPECT_EQ(stats.metrics().pipelines.cache_hits, 2u);
  stats.clear();
  const ConversionMetrics m = stats.metrics();
  EXPECT_EQ(m.total_conversions, 0u);
  EXPECT_EQ(m.success_rate(), 0.0);
  EXPECT_EQ(m.average_time_ms(), 0.0);
  EXPECT_EQ(m.throughput_bytes_per_sec(), 0.0);
  EXPECT_EQ(m.pipelines.executions, 0u);
  EXPECT_TRUE(stats.recent_events(10).empty());
}

TEST(ConversionStats, ManyThreadsAddUpExactly) {
  ConversionStats stats;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) stats.record(event(10, i % 5 != 0), std::chrono::steady_clock::now());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(stats.metrics().total_conversions, 2000u);
  EXPECT_EQ(stats.metrics().failures, 400u);
  EXPECT_EQ(stats.metrics().total_time, std::chrono::nanoseconds(20'000));
}

}  // namespace
}  // namespace lobit
