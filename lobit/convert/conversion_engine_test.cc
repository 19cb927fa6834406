#include "lobit/convert/conversion_engine.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <limits>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/memory_test_support.h"
#include "lobit/convert/tensor_test_support.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/test_probe.h"

namespace lobit {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ConversionEngineTest : public ::testing::Test {
 protected:
  std::unique_ptr<HybridMemoryPool> pool_ = HybridMemoryPool::create().value();
  std::unique_ptr<ConversionEngine> engine_ = ConversionEngine::create(fast_config(), *pool_).value();
};

TEST_F(ConversionEngineTest, EveryPairOfDTypesGivesTheBytesOfTheScalarReference) {
  // Blocks; rows that divide by some blocks only; one scale per row; one in all; a long row; nothing.
  for (const Shape& shape : {shape_of({2, 256}), shape_of({3, 192}), shape_of({2, 100}), shape_of({5, 7}),
                             shape_of({2, 5000}), shape_of({9, 1}), shape_of({0, 32})}) {
    for (const DType from : kAllDTypes) {
      const Tensor source = test_tensor(shape, from, *pool_);
      for (const DType to : kAllDTypes) {
        SCOPED_TRACE(shape.to_string() + " " + std::string(dtype_name(from)) + " to " +
                     std::string(dtype_name(to)));
        ASSERT_TRUE(engine_->is_conversion_supported(from, to));
        const auto result = engine_->convert(source, to);
        ASSERT_THAT(result, is_ok());
        EXPECT_EQ(result->dtype(), to);
        EXPECT_EQ(result->shape(), shape);
        if (from != to) {
          EXPECT_EQ(bytes_of(*result), reference_conversion(source, to));
        }
      }
    }
  }
}

TEST_F(ConversionEngineTest, PlanarFormatsWithGroupsConvertToTheBytesOfTheReference) {
  for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k32, ScaleGroup::k64,
                                  ScaleGroup::k128, ScaleGroup::k256}) {
    for (const Shape& shape : {shape_of({3, 100}), shape_of({2, 9001}), shape_of({1, 300})}) {
      const Tensor source = test_tensor(shape, DType::kF32, *pool_);
      for (const DType dtype : {DType::kI8, DType::kI4, DType::kI2, DType::kI1, DType::kBitNet158}) {
        const ValueFormat to{default_encoding(dtype), scales};
        SCOPED_TRACE(shape.to_string() + " " + to_string(to));
        const Tensor result = engine_->convert(source, to).value();
        EXPECT_EQ(bytes_of(result), reference_conversion(source, to));
        const Tensor back = engine_->convert(result, DType::kF32).value();
        EXPECT_EQ(reference_values(back), reference_values(result));
      }
    }
  }
}

TEST_F(ConversionEngineTest, AViewConvertsLikeACopyOfIt) {
  const Tensor source = test_tensor(shape_of({64, 256}), DType::kF32, *pool_);
  const Tensor turned = source.transpose().value();
  for (const DType to : {DType::kF16, DType::kI8, DType::kBitNet158}) {
    const Tensor direct = engine_->convert(turned, to).value();
    const Tensor copied = engine_->convert(turned.contiguous(*pool_).value(), to).value();
    EXPECT_EQ(bytes_of(direct), bytes_of(copied)) << dtype_name(to);
  }
  const Tensor ternary = engine_->convert(source, DType::kBitNet158).value();
  const Tensor rows = ternary.slice(0, 8, 24).value();
  EXPECT_EQ(reference_values(engine_->convert(rows, DType::kF32).value()), reference_values(rows));
}

TEST_F(ConversionEngineTest, TheSameDTypeIsSharedAndTakesNoMemory) {
  Tensor source = test_tensor(shape_of({4, 32}), DType::kI8, *pool_);
  source.set_name("w");
  const uint64_t before = pool_->usage().allocated;
  const Tensor result = engine_->convert(source, DType::kI8).value();
  EXPECT_EQ(result.bytes()->data(), source.bytes()->data());
  EXPECT_EQ(pool_->usage().allocated, before);
  EXPECT_EQ(engine_->recent_events(1)[0].strategy, ConversionStrategy::kZeroCopy);
}

TEST_F(ConversionEngineTest, NameAndTagsComeAlong) {
  Tensor source = test_tensor(shape_of({4, 32}), DType::kF32, *pool_);
  source.set_name("blk.0.w");
  source.set_tags({"weights", "layer 0"});
  const Tensor result = engine_->convert(source, DType::kI8).value();
  EXPECT_EQ(result.name(), "blk.0.w");
  EXPECT_THAT(result.tags(), ElementsAre("weights", "layer 0"));
}

TEST_F(ConversionEngineTest, F16BecomesBF16ByValueAndNotByBits) {
  const Tensor ones = Tensor::ones(shape_of({3}), DType::kF16, *pool_).value();
  const Tensor result = engine_->convert(ones, DType::kBF16).value();
  EXPECT_EQ(result.values<uint16_t>().value()[0], 0x3F80);
  const auto shared = engine_->zero_copy_convert(ones, DType::kBF16);
  ASSERT_THAT(shared, fails_with(ErrorCode::kUnsupported));
  EXPECT_EQ(shared.error().detail.from, "f16");
  EXPECT_EQ(shared.error().detail.to, "bf16");
}

TEST_F(ConversionEngineTest, ATensorThatIsGivenAwayIsRewrittenInItsOwnMemory) {
  Tensor source = test_tensor(shape_of({16, 256}), DType::kF32, *pool_);
  const std::vector<std::byte> expected = reference_conversion(source, DType::kI8);
  const std::byte* const place = source.bytes()->data();
  const Tensor kept = engine_->convert(source, DType::kI8).value();
  EXPECT_NE(kept.bytes()->data(), place);
  const Tensor result = engine_->convert(std::move(source), DType::kI8).value();
  EXPECT_EQ(result.bytes()->data(), place);
  EXPECT_EQ(bytes_of(result), expected);
  EXPECT_EQ(engine_->recent_events(1)[0].strategy, ConversionStrategy::kInPlace);
}

TEST_F(ConversionEngineTest, ATensorThatIsGivenAwayButSharedIsNotTouched) {
  Tensor source = test_tensor(shape_of({16, 256}), DType::kF32, *pool_);
  const Tensor other = source;
  const std::vector<std::byte> before = bytes_of(other);
  const Tensor result = engine_->convert(std::move(source), DType::kF16).value();
  EXPECT_EQ(bytes_of(other), before);
  EXPECT_EQ(engine_->recent_events(1)[0].strategy, ConversionStrategy::kStandard);
}

TEST_F(ConversionEngineTest, QualityLowersTheError) {
  const RandomOptions normal{.seed = 7, .distribution = Distribution::kNormal, .deviation = 0.02f};
  const Tensor source = Tensor::random(shape_of({16, 256}), DType::kF32, *pool_, normal).value();
  const std::vector<float> original = reference_values(source);
  for (const DType to : {DType::kI8, DType::kI4, DType::kI2, DType::kBitNet158}) {
    const auto error = [&](ConversionQuality quality) {
      const auto values = reference_values(engine_->convert_with_quality(source, to, quality).value());
      double sum = 0;
      for (size_t i = 0; i < values.size(); ++i) sum += std::pow(double{values[i]} - original[i], 2);
      return sum;
    };
    EXPECT_LT(error(ConversionQuality::kBalanced), error(ConversionQuality::kFast)) << dtype_name(to);
    EXPECT_LE(error(ConversionQuality::kPrecise), error(ConversionQuality::kBalanced)) << dtype_name(to);
  }
}

TEST_F(ConversionEngineTest, AValueThatDoesNotFitIsNamed) {
  for (const Shape& shape : {shape_of({2, 256}), shape_of({2, 100}), shape_of({5, 7}), shape_of({2, 9001})}) {
    std::vector<float> values = test_weights(shape.elements());
    values[33] = std::numeric_limits<float>::infinity();
    Tensor source = Tensor::from_values(values, shape, DType::kF32, *pool_).value();
    source.set_name("w");
    for (const DType to : {DType::kI8, DType::kI4, DType::kI2, DType::kI1, DType::kBitNet158}) {
      const auto result = engine_->convert(source, to);
      ASSERT_THAT(result, fails_with(ErrorCode::kDataLoss)) << shape.to_string() << dtype_name(to);
      EXPECT_EQ(result.error().detail.index, 33u) << shape.to_string() << dtype_name(to);
      EXPECT_THAT(result.error().message, HasSubstr("tensor 'w': element 33: inf has no code in"));
    }
  }
}

TEST_F(ConversionEngineTest, SaturatingStoresTheNearestValue) {
  ConversionConfig config = fast_config();
  config.overflow = OverflowRule::kSaturate;
  const auto engine = ConversionEngine::create(config, *pool_).value();
  for (const Shape& shape : {shape_of({1, 256}), shape_of({1, 100}), shape_of({5, 7}), shape_of({1, 9001})}) {
    std::vector<float> values(shape.elements(), 1.0f);
    values[3] = std::numeric_limits<float>::infinity();
    values[4] = std::numeric_limits<float>::quiet_NaN();
    const Tensor source = Tensor::from_values(values, shape, DType::kF32, *pool_).value();
    const auto result = reference_values(engine->convert(source, DType::kI8).value());
    EXPECT_NEAR(result[3], 1.0f, 1e-3) << shape.to_string();
    EXPECT_EQ(result[4], 0.0f) << shape.to_string();
    EXPECT_NEAR(result[5], 1.0f, 1e-3) << shape.to_string();
    EXPECT_EQ(engine->recent_events(1)[0].saturated, 1u);
  }
}

TEST_F(ConversionEngineTest, ACodeWithoutAMeaningIsCorrupt) {
  for (const Shape& shape : {shape_of({2, 256}), shape_of({4, 7})}) {
    Tensor source = test_tensor(shape, DType::kBitNet158, *pool_);
    source.mutable_bytes().value()[1] = std::byte{0xFF};
    EXPECT_THAT(engine_->convert(source, DType::kF32), fails_with(ErrorCode::kCorrupt));
    EXPECT_THAT(engine_->in_place_convert(source, DType::kI1), fails_with(ErrorCode::kCorrupt));
  }
}

TEST_F(ConversionEngineTest, StreamsEveryDTypeInChunksOfEverySizeByAnyNumberOfThreads) {
  for (const Shape& shape : {shape_of({12, 256}), shape_of({30, 101}), shape_of({3, 5000})}) {
    const Tensor source = test_tensor(shape, DType::kF32, *pool_);
    for (const size_t threads : {size_t{1}, size_t{2}, size_t{8}}) {
      ConversionConfig config = fast_config(threads);
      config.streaming.parallel_chunks = threads;
      const auto engine = ConversionEngine::create(config, *pool_).value();
      for (const DType to : kAllDTypes) {
        if (to == DType::kF32) continue;
        const auto expected = bytes_of(engine_->convert(source, to).value());
        for (const uint64_t chunk : {uint64_t{4}, uint64_t{1000}, uint64_t{4096}, source.size_bytes()}) {
          const Tensor result = engine->streaming_convert(source, to, chunk).value();
          EXPECT_EQ(bytes_of(result), expected) << dtype_name(to) << " " << chunk << " " << threads;
        }
      }
    }
  }
}

TEST_F(ConversionEngineTest, TheChunkSizeDecidesTheNumberOfChunks) {
  const Tensor source = test_tensor(shape_of({64, 256}), DType::kF32, *pool_);
  ASSERT_THAT(engine_->streaming_convert(source, DType::kI8, 1024), is_ok());
  EXPECT_EQ(engine_->recent_events(1)[0].chunks, 64u);
  EXPECT_EQ(engine_->recent_events(1)[0].strategy, ConversionStrategy::kStreaming);
  EXPECT_THAT(engine_->streaming_convert(source, DType::kI8, 0), fails_with(ErrorCode::kInvalidArgument));
}

TEST_F(ConversionEngineTest, TheLimitRefusesBeforeAnyMemoryIsTaken) {
  ConversionConfig config = fast_config();
  config.max_memory_usage = 1000;
  const auto engine = ConversionEngine::create(config, *pool_).value();
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  const uint64_t before = pool_->usage().allocations;
  const auto result = engine->convert(source, DType::kF16);
  ASSERT_THAT(result, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(result.error().detail.required, 2048u);
  EXPECT_EQ(result.error().detail.available, 1000u);
  EXPECT_EQ(pool_->usage().allocations, before);
  // Results that were handed out count no longer.
  const Tensor small = engine->convert(source, DType::kI4).value();
  ASSERT_THAT(engine->convert(source, DType::kI4), is_ok());
  EXPECT_EQ(engine->stats().memory_stats.current_usage, 0u);
  EXPECT_EQ(engine->stats().memory_stats.peak_memory_usage, small.size_bytes());
}

TEST_F(ConversionEngineTest, AnEmptyPoolIsAnError) {
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  ProbeResource probe;
  probe.set_capacity(100);
  const auto engine = ConversionEngine::create(fast_config(), probe).value();
  EXPECT_THAT(engine->convert(source, DType::kF16), fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(engine->stats().memory_stats.current_usage, 0u);
}

TEST_F(ConversionEngineTest, AnEncodingThatCannotBeReadOrWrittenIsNamed) {
  const Tensor numbers = Tensor::empty(shape_of({4, 256}), Encoding::kRawI64, *pool_).value();
  const auto read = engine_->convert(numbers, DType::kF32);
  ASSERT_THAT(read, fails_with(ErrorCode::kUnsupported));
  EXPECT_EQ(read.error().detail.from, "raw_i64");
  EXPECT_EQ(read.error().detail.to, "f32");
  const auto written =
      engine_->convert(test_tensor(shape_of({4, 256}), DType::kF32, *pool_), Encoding::kQ4_K);
  ASSERT_THAT(written, fails_with(ErrorCode::kUnsupported));
  EXPECT_EQ(written.error().detail.to, "q4_k");
}

TEST_F(ConversionEngineTest, AnotherDeviceIsNamedWithTheTensorsOwn) {
  ProbeResource cuda({DeviceKind::kCuda, 0});
  const auto engine = ConversionEngine::create(fast_config(), cuda).value();
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  const auto result = engine->convert(source, DType::kF16);
  ASSERT_THAT(result, fails_with(ErrorCode::kDevice));
  EXPECT_EQ(result.error().detail.from, "cpu");
  EXPECT_EQ(result.error().detail.to, "cuda:0");
  EXPECT_FALSE(engine->is_conversion_supported(DType::kF32, DType::kF16, {DeviceKind::kCuda, 0}));
  EXPECT_FALSE(engine_->is_conversion_supported(DType::kF32, DType::kF16, {DeviceKind::kCuda, 0}));
}

TEST_F(ConversionEngineTest, StopsWhenItIsToldTo) {
  const Tensor source = test_tensor(shape_of({64, 256}), DType::kF32, *pool_);
  std::stop_source stop;
  const RunControl control{.progress = [&](const Progress&) { stop.request_stop(); },
                           .stop = stop.get_token()};
  const uint64_t before = pool_->usage().allocated;
  // Progress is told with the first chunk, and the second is not begun.
  const auto engine = ConversionEngine::create(fast_config(1), *pool_).value();
  EXPECT_THAT(engine->streaming_convert(source, DType::kI8, 1024, control),
              fails_with(ErrorCode::kCancelled));
  EXPECT_EQ(pool_->usage().allocated, before);
  EXPECT_THAT(engine->convert(source, DType::kI8, {.stop = stop.get_token()}),
              fails_with(ErrorCode::kCancelled));
  EXPECT_EQ(engine->stats().error_stats.cancelled, 2u);
}

TEST_F(ConversionEngineTest, StatisticsCountEveryEntryPointExactly) {
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  Tensor mutable_source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  Tensor bad = Tensor::full(shape_of({4, 256}), INFINITY, DType::kF32, *pool_).value();
  // Seven that work.
  ASSERT_THAT(engine_->convert(source, DType::kF16), is_ok());
  ASSERT_THAT(engine_->convert_with_quality(source, DType::kI8, ConversionQuality::kFast), is_ok());
  ASSERT_THAT(engine_->batch_convert(std::span(&source, 1), DType::kF16), is_ok());
  const BatchRequest mixed{source, DType::kI8};
  ASSERT_THAT(engine_->batch_convert_mixed({&mixed, 1}), is_ok());
  ASSERT_THAT(engine_->zero_copy_convert(source, DType::kF32), is_ok());
  ASSERT_THAT(engine_->in_place_convert(mutable_source, DType::kF16), is_ok());
  ASSERT_THAT(engine_->streaming_convert(source, DType::kI8, 1024), is_ok());
  // Three that do not.
  EXPECT_THAT(engine_->convert(bad, DType::kI8), fails_with(ErrorCode::kDataLoss));
  EXPECT_THAT(engine_->zero_copy_convert(source, DType::kF16), fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(engine_->in_place_convert(mutable_source, DType::kF32),
              fails_with(ErrorCode::kInvalidArgument));

  const ConversionMetrics stats = engine_->stats();
  EXPECT_EQ(stats.total_conversions, 10u);
  EXPECT_EQ(stats.success_rate(), 70.0);
  EXPECT_EQ(stats.error_stats.error_rate, 30.0);
  EXPECT_EQ(stats.error_stats.data_loss, 1u);
  EXPECT_EQ(stats.error_stats.unsupported, 1u);
  EXPECT_EQ(stats.error_stats.other, 1u);
  EXPECT_EQ(stats.input_bytes, 7 * source.size_bytes());
  EXPECT_EQ(stats.strategy_metrics.at(ConversionStrategy::kZeroCopy).usage_count(), 2u);
  EXPECT_EQ(stats.strategy_metrics.at(ConversionStrategy::kInPlace).usage_count(), 2u);
  EXPECT_EQ(stats.strategy_metrics.at(ConversionStrategy::kStreaming).successes, 1u);
  EXPECT_EQ(stats.strategy_metrics.at(ConversionStrategy::kStandard).usage_count(), 5u);
  const ConversionCounts& to_i8 = stats.dtype_metrics.at({DType::kF32, DType::kI8});
  EXPECT_EQ(to_i8.usage_count(), 4u);
  EXPECT_EQ(to_i8.average_compression_ratio(), 4096.0 / 1088.0);
  EXPECT_LE(to_i8.min_time, to_i8.max_time);
  EXPECT_EQ(stats.device_metrics[0].second.usage_count(), 10u);

  const auto events = engine_->recent_events(5);
  ASSERT_EQ(events.size(), 5u);
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(events[i].number, 6 + i);
  EXPECT_THAT(events[3].error_message, HasSubstr("zero copy: f32 cannot become f16"));

  engine_->clear_stats();
  EXPECT_EQ(engine_->stats().total_conversions, 0u);
  EXPECT_TRUE(engine_->stats().strategy_metrics.empty());
  EXPECT_TRUE(engine_->recent_events(5).empty());
}

TEST_F(ConversionEngineTest, WithoutMetricsThereAreNoEvents) {
  ConversionConfig config = fast_config();
  config.enable_metrics = false;
  const auto engine = ConversionEngine::create(config, *pool_).value();
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  ASSERT_THAT(engine->convert(source, DType::kF16), is_ok());
  EXPECT_EQ(engine->stats().total_conversions, 0u);
  EXPECT_TRUE(engine->recent_events(1).empty());
}

TEST_F(ConversionEngineTest, TheLogGetsALineForEveryDecision) {
  std::vector<std::string> lines;
  ConversionConfig config = fast_config();
  config.log = [&](std::string_view line) { lines.emplace_back(line); };
  const auto engine = ConversionEngine::create(config, *pool_).value();
  Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  source.set_name("w");
  ASSERT_THAT(engine->convert(source, DType::kI8), is_ok());
  EXPECT_THAT(lines, ElementsAre("tensor 'w' [4, 256]: f32 -> q8_0: standard"));
}

TEST_F(ConversionEngineTest, ThePredictedTimeKnowsTheWorkAndWhatThePoolHas) {
  const auto pool = HybridMemoryPool::create({.idle_trim = std::chrono::milliseconds::zero()}).value();
  const auto engine = ConversionEngine::create({}, *pool).value();
  const auto predicted = [&](int64_t rows) {
    return engine->strategy_info(DType::kF32, DType::kF16, shape_of({rows, 2048})).estimated_time_ms;
  };
  const double cold = predicted(2048);
  EXPECT_GT(cold, predicted(1024));
  EXPECT_GT(predicted(1), 0.0);
  EXPECT_TRUE(Buffer::allocate(*pool, 16 << 20).value().free());
  EXPECT_LT(predicted(2048), cold) << "the pool kept the result's memory";
}

TEST_F(ConversionEngineTest, NothingIsSupportedForMoreBytesThanCanBeCounted) {
  const Shape shape = shape_of({int64_t{1} << 61});
  EXPECT_FALSE(engine_->strategy_info(DType::kF32, DType::kI8, shape).is_supported);
  EXPECT_FALSE(engine_->strategy_info(DType::kI8, DType::kF32, shape).is_supported);
}

TEST_F(ConversionEngineTest, TheInformationIsWhatConvertDoes) {
  ConversionConfig config = fast_config();
  config.streaming.streaming_threshold = 8192;
  const auto engine = ConversionEngine::create(config, *pool_).value();
  using Use = ConversionEngine::SourceUse;
  for (const Shape& shape : {shape_of({4, 256}), shape_of({16, 256}), shape_of({2, 10})}) {
    for (const DType from : kAllDTypes) {
      for (const DType to : kAllDTypes) {
        for (const Use use : {Use::kKept, Use::kConsumed}) {
          Tensor source = test_tensor(shape, from, *pool_);
          const StrategyInfo info = engine->strategy_info(from, to, shape, {}, use);
          const uint64_t source_bytes = source.size_bytes();
          const auto result =
              use == Use::kKept ? engine->convert(source, to) : engine->convert(std::move(source), to);
          const ConversionEvent event = engine->recent_events(1)[0];
          SCOPED_TRACE(info.description());
          ASSERT_TRUE(info.is_supported);
          EXPECT_EQ(info.strategy, event.strategy);
          EXPECT_EQ(info.is_zero_copy, event.strategy == ConversionStrategy::kZeroCopy);
          EXPECT_EQ(info.is_in_place, event.strategy == ConversionStrategy::kInPlace);
          EXPECT_GE(info.memory_overhead_bytes, event.peak_bytes);
          EXPECT_EQ(info.compression_ratio, double(source_bytes) / double(result->size_bytes()));
          EXPECT_GT(info.estimated_time_ms, 0);
        }
      }
    }
  }
  EXPECT_FALSE(
      engine->strategy_info(DType::kF32, DType::kI8, shape_of({1}), {DeviceKind::kMlx, 0}).is_supported);
}

TEST_F(ConversionEngineTest, TheConfiguredStrategyIsTaken) {
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  const auto strategy_of = [&](ConversionStrategy strategy) {
    ConversionConfig config = fast_config();
    config.default_strategy = strategy;
    const auto engine = ConversionEngine::create(config, *pool_).value();
    static_cast<void>(engine->convert(source, DType::kI8));
    return engine->recent_events(1)[0];
  };
  EXPECT_EQ(strategy_of(ConversionStrategy::kStreaming).strategy, ConversionStrategy::kStreaming);
  EXPECT_EQ(strategy_of(ConversionStrategy::kStandard).strategy, ConversionStrategy::kStandard);
  // The source stays, so there is no place to write to but a new one.
  EXPECT_EQ(strategy_of(ConversionStrategy::kInPlace).strategy, ConversionStrategy::kStandard);
  EXPECT_EQ(strategy_of(ConversionStrategy::kZeroCopy).error_code, ErrorCode::kUnsupported);
}

TEST_F(ConversionEngineTest, SourcesAboveTheThresholdAreStreamed) {
  ConversionConfig config = fast_config();
  config.streaming.streaming_threshold = 4096;
  config.streaming.chunk_size = 2048;
  const auto engine = ConversionEngine::create(config, *pool_).value();
  ASSERT_THAT(engine->convert(test_tensor(shape_of({4, 256}), DType::kF32, *pool_), DType::kF16), is_ok());
  ASSERT_THAT(engine->convert(test_tensor(shape_of({5, 256}), DType::kF32, *pool_), DType::kF16), is_ok());
  const auto events = engine->recent_events(2);
  EXPECT_EQ(events[0].strategy, ConversionStrategy::kInPlace);
  EXPECT_EQ(events[1].strategy, ConversionStrategy::kStreaming);
  EXPECT_EQ(events[1].chunks, 3u);
}

TEST_F(ConversionEngineTest, EveryFailedAllocationIsReportedAndNothingStays) {
  const Tensor source = test_tensor(shape_of({4, 9001}), DType::kF16, *pool_);
  const auto used = fail_each_allocation(
      [&](MemoryResource& memory) -> Status {
        ConversionConfig config = fast_config();
        config.default_quality = ConversionQuality::kBalanced;
        const auto engine = ConversionEngine::create(config, memory).value();
        LOBIT_RETURN_IF_ERROR(engine->convert(source, DType::kI4));
        return {};
      },
      [] {});
  // The result, and scratch for a long row at a time.
  EXPECT_EQ(used.allocations, 5u);
}

TEST_F(ConversionEngineTest, EightThreadsShareOneEngine) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 20;
  const Tensor source = test_tensor(shape_of({40, 256}), DType::kF32, *pool_);
  const auto expected = reference_conversion(source, DType::kI8);
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        const auto result = t % 2 == 0 ? engine_->convert(source, DType::kI8)
                                       : engine_->streaming_convert(source, DType::kI8, 4096);
        good += result && bytes_of(*result) == expected ? 1 : 0;
        static_cast<void>(engine_->stats());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, kThreads * kRounds);
  EXPECT_EQ(engine_->stats().total_conversions, static_cast<uint64_t>(kThreads * kRounds));
  EXPECT_EQ(engine_->stats().memory_stats.current_usage, 0u);
}

}  // namespace
}  // namespace lobit
