#include "lobit/convert/conversion_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/conversion_engine.h"

namespace lobit {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kKiB = 1 << 10;
constexpr uint64_t kMiB = 1 << 20;

TEST(ConversionConfig, PresetsHaveTheDocumentedValues) {
  const size_t cores = ThreadPool::default_threads();
  const ConversionConfig usual;
  EXPECT_EQ(usual.default_strategy, ConversionStrategy::kAuto);
  EXPECT_EQ(usual.default_quality, ConversionQuality::kBalanced);
  EXPECT_EQ(usual.max_memory_usage, 1024 * kMiB);
  EXPECT_EQ(usual.streaming.chunk_size, kMiB);
  EXPECT_EQ(usual.streaming.parallel_chunks, 2u);
  EXPECT_EQ(usual.batch.max_batch_size, 32u);

  const ConversionConfig low = ConversionConfig::low_memory();
  EXPECT_EQ(low.default_strategy, ConversionStrategy::kStreaming);
  EXPECT_EQ(low.max_memory_usage, 256 * kMiB);
  EXPECT_EQ(low.streaming.chunk_size, 256 * kKiB);
  EXPECT_EQ(low.streaming.parallel_chunks, 1u);
  EXPECT_EQ(low.batch.max_batch_size, 8u);
  EXPECT_FALSE(low.batch.enable_parallel_processing);

  const ConversionConfig fast = ConversionConfig::high_performance();
  EXPECT_EQ(fast.default_quality, ConversionQuality::kFast);
  EXPECT_EQ(fast.worker_threads, 2 * cores);
  EXPECT_EQ(fast.streaming.buffer_size, 16 * kMiB);
  EXPECT_EQ(fast.batch.max_batch_memory, 1024 * kMiB);

  const ConversionConfig precise = ConversionConfig::high_precision();
  EXPECT_EQ(precise.default_quality, ConversionQuality::kPrecise);
  EXPECT_EQ(precise.streaming.parallel_chunks, 1u);
  EXPECT_FALSE(precise.batch.sort_by_size);

  for (const ConversionConfig& config : {usual, low, fast, precise}) EXPECT_THAT(config.validate(), is_ok());
}

TEST(ConversionConfig, EachRuleNamesItsField) {
  const auto refused = [](std::string_view field, auto change) {
    ConversionConfig config;
    change(config);
    const Status status = config.validate();
    ASSERT_THAT(status, fails_with(ErrorCode::kInvalidArgument)) << field;
    EXPECT_THAT(status.error().message, HasSubstr(std::string(field) + ": expected at least"));
    const auto pool = HybridMemoryPool::create().value();
    EXPECT_THAT(ConversionEngine::create(config, *pool), fails_with(ErrorCode::kInvalidArgument)) << field;
  };
  refused("max_memory_usage", [](ConversionConfig& c) { c.max_memory_usage = 0; });
  refused("worker_threads", [](ConversionConfig& c) { c.worker_threads = 0; });
  refused("streaming.chunk_size", [](ConversionConfig& c) { c.streaming.chunk_size = 0; });
  refused("streaming.parallel_chunks", [](ConversionConfig& c) { c.streaming.parallel_chunks = 0; });
  refused("streaming.buffer_size", [](ConversionConfig& c) { c.streaming.buffer_size = kMiB - 1; });
  refused("batch.max_batch_size", [](ConversionConfig& c) { c.batch.max_batch_size = 0; });
  refused("batch.max_batch_memory", [](ConversionConfig& c) { c.batch.max_batch_memory = 0; });
  refused("batch.batch_worker_threads", [](ConversionConfig& c) { c.batch.batch_worker_threads = 0; });
}

TEST(ConversionStrategy, NamesAreReadBack) {
  for (const auto strategy : {ConversionStrategy::kAuto, ConversionStrategy::kZeroCopy, ConversionStrategy::kInPlace,
                              ConversionStrategy::kStreaming, ConversionStrategy::kStandard}) {
    EXPECT_EQ(parse_conversion_strategy(conversion_strategy_name(strategy)), strategy);
  }
  for (const auto quality :
       {ConversionQuality::kFast, ConversionQuality::kBalanced, ConversionQuality::kPrecise}) {
    EXPECT_EQ(parse_conversion_quality(conversion_quality_name(quality)), quality);
  }
  EXPECT_EQ(parse_conversion_strategy("fastest"), std::nullopt);
}

TEST(StrategyInfo, DescribesItselfInOneLine) {
  StrategyInfo info;
  EXPECT_EQ(info.description(), "not supported");
  info = {.strategy = ConversionStrategy::kStandard,
          .is_supported = true,
          .estimated_time_ms = 0.4142,
          .memory_overhead_bytes = 2 << 20,
          .compression_ratio = 2};
  EXPECT_EQ(info.description(), "standard: about 0.414 ms, 2 MiB of new memory, 2.00x smaller");
}

}  // namespace
}  // namespace lobit
