#include "lobit/convert/conversion_pipeline.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/conversion_engine.h"
#include "lobit/convert/memory_test_support.h"
#include "lobit/convert/tensor_test_support.h"

namespace lobit {
namespace {

using ::testing::HasSubstr;

class ConversionPipelineTest : public ::testing::Test {
 protected:
  ConversionPipelineTest() { engine_ = ConversionEngine::create(fast_config(2), *pool_).value(); }
  ConversionPipeline three_stages() {
    return engine_->create_pipeline().add_stage(DType::kF16).add_stage(DType::kI8).add_stage(DType::kI4);
  }

  std::unique_ptr<HybridMemoryPool> pool_ = HybridMemoryPool::create().value();
  std::unique_ptr<ConversionEngine> engine_;
};

TEST_F(ConversionPipelineTest, StagesFollowEachOther) {
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  ConversionPipeline pipeline = three_stages();
  const Tensor result = pipeline.execute(source).value();
  Tensor expected = engine_->convert(source, DType::kF16).value();
  expected = engine_->convert(expected, DType::kI8).value();
  expected = engine_->convert(expected, DType::kI4).value();
  EXPECT_EQ(bytes_of(result), bytes_of(expected));
  EXPECT_EQ(pipeline.stats().total_stages_executed, 3u);
}

TEST_F(ConversionPipelineTest, WithoutStagesItIsTheTensor) {
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  ConversionPipeline pipeline = engine_->create_pipeline();
  EXPECT_TRUE(pipeline.execute(source)->shares_storage_with(source));
  EXPECT_EQ(pipeline.stats().total_executions, 1u);
}

TEST_F(ConversionPipelineTest, RemembersAndForgets) {
  Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  const uint64_t before = pool_->usage().allocated;
  ConversionPipeline pipeline = three_stages();
  const auto first = bytes_of(pipeline.execute(source).value());
  EXPECT_EQ(pipeline.stats().cache_misses, 3u);
  EXPECT_EQ(pipeline.stats().cache_size, 3u);
  EXPECT_EQ(pipeline.stats().cache_bytes, 2048u + 1088 + 576);
  EXPECT_EQ(engine_->stats().memory_stats.current_usage, pipeline.stats().cache_bytes);
  EXPECT_GE(pipeline.stats().peak_memory_usage, pipeline.stats().cache_bytes);

  EXPECT_EQ(bytes_of(pipeline.execute(source).value()), first);
  EXPECT_EQ(pipeline.stats().cache_hits, 3u);
  EXPECT_EQ(pipeline.stats().total_stages_executed, 3u);
  EXPECT_EQ(pipeline.stats().cache_hit_ratio(), 0.5);
  EXPECT_EQ(engine_->stats().pipelines.executions, 2u);
  EXPECT_EQ(engine_->stats().pipelines.cache_hits, 3u);

  // Other values at the same place.
  source.mutable_values<float>().value()[0] = 1.0f;
  EXPECT_NE(bytes_of(pipeline.execute(source).value()), first);
  EXPECT_EQ(pipeline.stats().cache_hits, 3u);

  pipeline.clear_cache();
  EXPECT_EQ(pipeline.stats().cache_size, 0u);
  EXPECT_EQ(pool_->usage().allocated, before);
  EXPECT_EQ(engine_->stats().memory_stats.current_usage, 0u);
}

TEST_F(ConversionPipelineTest, AResultThatIsWrittenToLeavesWhatIsRemembered) {
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  ConversionPipeline pipeline = engine_->create_pipeline().add_stage(DType::kF16);
  Tensor result = pipeline.execute(source).value();
  const auto expected = bytes_of(result);
  result.mutable_values<uint16_t>().value()[0] = 0;
  EXPECT_EQ(bytes_of(pipeline.execute(source).value()), expected);
}

TEST_F(ConversionPipelineTest, AStageThatDoesNotRememberLetsTheNextUseItsMemory) {
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  ConversionPipeline pipeline =
      engine_->create_pipeline().add_stage_no_cache(DType::kF16).add_stage(DType::kI8);
  ASSERT_THAT(pipeline.execute(source), is_ok());
  EXPECT_EQ(engine_->recent_events(1)[0].strategy, ConversionStrategy::kInPlace);
  EXPECT_EQ(pipeline.stats().cache_misses, 1u);
  ASSERT_THAT(pipeline.execute(source), is_ok());
  EXPECT_EQ(pipeline.stats().cache_hits, 1u);
  EXPECT_EQ(pipeline.stats().total_stages_executed, 2u);
}

TEST_F(ConversionPipelineTest, AForcedStrategyIsTaken) {
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  ConversionPipeline pipeline =
      engine_->create_pipeline().add_stage_with_strategy(DType::kI8, ConversionStrategy::kStreaming);
  ASSERT_THAT(pipeline.execute(source), is_ok());
  EXPECT_EQ(engine_->recent_events(1)[0].strategy, ConversionStrategy::kStreaming);
}

TEST_F(ConversionPipelineTest, AFailureNamesItsStage) {
  const Tensor source = Tensor::full(shape_of({4, 256}), 1e30f, DType::kF32, *pool_).value();
  ConversionPipeline pipeline = engine_->create_pipeline().add_stage(DType::kBF16).add_stage(DType::kI8);
  const auto result = pipeline.execute(source);
  ASSERT_THAT(result, fails_with(ErrorCode::kDataLoss));
  EXPECT_THAT(result.error().message, HasSubstr("stage 2 of 2 (i8): tensor '': element 0"));
  EXPECT_EQ(result.error().detail.index, 1u);
  const Tensor good = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  const auto batch = pipeline.execute_batch(std::vector{good, source, source});
  ASSERT_THAT(batch, fails_with(ErrorCode::kDataLoss));
  EXPECT_THAT(batch.error().message, HasSubstr("tensor 1: stage 2 of 2 (i8): "));
  EXPECT_EQ(batch.error().detail.index, 1u);
}

TEST_F(ConversionPipelineTest, ABatchKeepsItsOrder) {
  std::vector<Tensor> sources;
  for (uint32_t i = 0; i < 25; ++i) sources.push_back(test_tensor(shape_of({2, 64}), DType::kF32, *pool_, i));
  ConversionPipeline pipeline = three_stages();
  const auto results = pipeline.execute_batch(sources).value();
  for (size_t i = 0; i < sources.size(); ++i) {
    EXPECT_EQ(bytes_of(results[i]), bytes_of(pipeline.execute(sources[i]).value())) << i;
  }
  EXPECT_EQ(engine_->stats().total_conversions, 75u);
}

TEST_F(ConversionPipelineTest, OptimizingLeavesOutWhatChangesNothing) {
  ConversionPipeline pipeline = engine_->create_pipeline()
                                    .add_stage(DType::kF16)
                                    .add_stage(DType::kF16)
                                    .add_stage(DType::kF32)
                                    .add_stage(DType::kI8)
                                    .add_stage(DType::kI8)
                                    .optimize();
  ASSERT_EQ(pipeline.stages().size(), 2u);
  EXPECT_EQ(pipeline.stages()[0].to.dtype(), DType::kF16);
  EXPECT_EQ(pipeline.stages()[1].to.dtype(), DType::kI8);
  // Back to what it was: a second rounding is not the same as none.
  EXPECT_EQ(engine_->create_pipeline()
                .add_stage(DType::kI4)
                .add_stage(DType::kF32)
                .add_stage(DType::kI4)
                .optimize()
                .stages()
                .size(),
            3u);
}

TEST_F(ConversionPipelineTest, OptimizingNeverChangesAByte) {
  uint32_t state = 7;
  const auto random = [&](uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % n;
  };
  constexpr ConversionStrategy kStrategies[] = {ConversionStrategy::kAuto, ConversionStrategy::kStandard,
                                                ConversionStrategy::kStreaming, ConversionStrategy::kInPlace,
                                                ConversionStrategy::kZeroCopy};
  size_t shorter = 0;
  for (int round = 0; round < 300; ++round) {
    ConversionPipeline plain = engine_->create_pipeline();
    ConversionPipeline optimized = engine_->create_pipeline();
    const uint32_t stages = random(7);
    for (uint32_t i = 0; i < stages; ++i) {
      // F32 and repetitions, which are what is left out, come often.
      const DType to = random(3) == 0 ? DType::kF32 : kAllDTypes[random(8)];
      const ConversionStrategy strategy = kStrategies[random(8) < 6 ? random(3) : random(5)];
      for (ConversionPipeline* pipeline : {&plain, &optimized})
        pipeline->add_stage_with_strategy(to, strategy);
    }
    optimized.optimize();
    shorter += optimized.stages().size() < plain.stages().size() ? 1 : 0;
    const Shape shape = round % 2 == 0 ? shape_of({2, 256}) : shape_of({3, 21});
    const Tensor source = test_tensor(shape, kAllDTypes[random(8)], *pool_, static_cast<uint32_t>(round));
    const auto expected = plain.execute(source);
    const auto result = optimized.execute(source);
    ASSERT_EQ(expected.has_value(), result.has_value()) << round;
    if (!expected) continue;
    EXPECT_EQ(result->format(), expected->format()) << round;
    EXPECT_EQ(bytes_of(*result), bytes_of(*expected)) << round;
  }
  EXPECT_GT(shorter, 50u);
}

TEST_F(ConversionPipelineTest, ForgetsToMakeRoom) {
  ConversionConfig config = engine_->config();
  config.max_memory_usage = 5000;  // an F16 of 2048, and what is made of it
  const auto engine = ConversionEngine::create(config, *pool_).value();
  ConversionPipeline pipeline = engine->create_pipeline().add_stage(DType::kF16).add_stage(DType::kBF16);
  for (uint32_t i = 0; i < 4; ++i) {
    const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_, i);
    EXPECT_EQ(
        bytes_of(pipeline.execute(source).value()),
        bytes_of(engine_->convert(engine_->convert(source, DType::kF16).value(), DType::kBF16).value()));
    EXPECT_LE(pipeline.stats().cache_bytes, 5000u);
  }
  EXPECT_LE(engine->stats().memory_stats.peak_memory_usage, 5000u);
}

TEST_F(ConversionPipelineTest, RemembersAHundredResultsTheLongestUnusedGoFirst) {
  std::vector<Tensor> sources;
  for (uint32_t i = 0; i < 101; ++i) sources.push_back(test_tensor(shape_of({32}), DType::kF32, *pool_, i));
  ConversionPipeline pipeline = engine_->create_pipeline().add_stage(DType::kI8);
  for (size_t i = 0; i < 100; ++i) ASSERT_THAT(pipeline.execute(sources[i]), is_ok());
  ASSERT_THAT(pipeline.execute(sources[0]), is_ok());
  ASSERT_THAT(pipeline.execute(sources[100]), is_ok());
  EXPECT_EQ(pipeline.stats().cache_size, 100u);
  EXPECT_EQ(pipeline.stats().cache_hits, 1u);
  ASSERT_THAT(pipeline.execute(sources[0]), is_ok());
  EXPECT_EQ(pipeline.stats().cache_hits, 2u);
  ASSERT_THAT(pipeline.execute(sources[1]), is_ok());  // the one that went
  EXPECT_EQ(pipeline.stats().cache_hits, 2u);
}

TEST_F(ConversionPipelineTest, EveryFailedAllocationIsReportedAndNothingStays) {
  const Tensor source = test_tensor(shape_of({2, 9001}), DType::kF32, *pool_);
  fail_each_allocation(
      [&](MemoryResource& memory) -> Status {
        ConversionConfig config = engine_->config();
        const auto engine = ConversionEngine::create(config, memory).value();
        ConversionPipeline pipeline =
            engine->create_pipeline().add_stage_no_cache(DType::kF16).add_stage_no_cache(DType::kI8);
        LOBIT_RETURN_IF_ERROR(pipeline.execute(source));
        return {};
      },
      [] {});
}

TEST_F(ConversionPipelineTest, StopsWhenItIsToldTo) {
  const Tensor source = test_tensor(shape_of({4, 256}), DType::kF32, *pool_);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THAT(three_stages().execute(source, {.stop = stop.get_token()}), fails_with(ErrorCode::kCancelled));
}

}  // namespace
}  // namespace lobit
