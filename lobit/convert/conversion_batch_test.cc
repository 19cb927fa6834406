// Conversion of many tensors at once, through the engine and through BatchConverter.
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/batch_converter.h"
#include "lobit/convert/conversion_engine.h"
#include "lobit/convert/memory_test_support.h"
#include "lobit/convert/tensor_test_support.h"
#include "lobit/memory/buffer.h"

namespace lobit {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ConversionConfig batch_config(size_t threads = 2) {
  ConversionConfig config = fast_config(threads);
  config.batch.batch_worker_threads = threads;
  return config;
}

class BatchTest : public ::testing::Test {
 protected:
  std::vector<Tensor> tensors(size_t count, const Shape& shape = shape_of({64, 64})) {
    std::vector<Tensor> all;
    for (size_t i = 0; i < count; ++i) {
      all.push_back(test_tensor(shape, DType::kF32, *pool_, static_cast<uint32_t>(i + 1)));
    }
    return all;
  }
  Tensor bad() { return Tensor::full(shape_of({64, 64}), INFINITY, DType::kF32, *pool_).value(); }

  std::unique_ptr<HybridMemoryPool> pool_ = HybridMemoryPool::create().value();
  std::unique_ptr<ConversionEngine> engine_ = ConversionEngine::create(batch_config(), *pool_).value();
};

TEST_F(BatchTest, AThousandTensorsComeBackInOrderAsOneByOne) {
  const std::vector<Tensor> sources = tensors(1000);
  const auto results = engine_->batch_convert(sources, DType::kI8).value();
  ASSERT_EQ(results.size(), 1000u);
  for (size_t i = 0; i < results.size(); i += 37) {
    EXPECT_EQ(bytes_of(results[i]), reference_conversion(sources[i], DType::kI8)) << i;
  }
  EXPECT_EQ(engine_->stats().successes, 1000u);
  EXPECT_EQ(engine_->recent_events(1000).size(), 1000u);
  EXPECT_EQ(engine_->stats().memory_stats.current_usage, 0u);
}

TEST_F(BatchTest, NothingGivesNothing) {
  EXPECT_TRUE(engine_->batch_convert({}, DType::kI8)->empty());
  EXPECT_EQ(engine_->stats().total_conversions, 0u);
}

TEST_F(BatchTest, EachTensorMayHaveItsOwnTarget) {
  std::vector<BatchRequest> requests;
  for (const DType to : kAllDTypes) {
    requests.push_back({test_tensor(shape_of({2, 256}), DType::kF32, *pool_), to});
    requests.push_back({test_tensor(shape_of({3, 5000}), DType::kF16, *pool_), to});
  }
  BatchReport report;
  const auto results = engine_->batch_convert_mixed(requests, {.report = &report}).value();
  for (size_t i = 0; i < requests.size(); ++i) {
    const DType to = *requests[i].to.dtype();
    EXPECT_EQ(results[i].dtype(), to);
    if (requests[i].tensor.dtype() == to) {
      EXPECT_TRUE(results[i].shares_storage_with(requests[i].tensor));
    } else {
      EXPECT_EQ(bytes_of(results[i]), reference_conversion(requests[i].tensor, to)) << i;
    }
  }
  EXPECT_EQ(report.batches.size(), 14u);  // one for each pair that changes something
}

TEST_F(BatchTest, TheFirstBadTensorIsNamed) {
  std::vector<Tensor> sources = tensors(100);
  sources[70] = bad();
  sources[41] = bad();
  sources[90] = bad();
  const uint64_t before = pool_->usage().allocated;
  for (const size_t batch_size : {size_t{1}, size_t{32}, size_t{1000}}) {
    for (const bool sorted : {true, false}) {
      ConversionConfig config = batch_config();
      config.batch.max_batch_size = batch_size;
      config.batch.sort_by_size = sorted;
      const auto engine = ConversionEngine::create(config, *pool_).value();
      const auto result = engine->batch_convert(sources, DType::kI8);
      ASSERT_THAT(result, fails_with(ErrorCode::kDataLoss));
      EXPECT_THAT(result.error().message, HasSubstr("tensor 41: tensor '': element 0: inf"));
      EXPECT_EQ(result.error().detail.index, 41u);
      EXPECT_EQ(pool_->usage().allocated, before);
      EXPECT_EQ(engine->stats().memory_stats.current_usage, 0u);
    }
  }
}

TEST_F(BatchTest, TheFirstBadTensorIsNamedThoughALargerBadOneIsConvertedFirst) {
  std::vector<Tensor> sources = tensors(6);
  sources[2] = bad();
  sources[4] = Tensor::full(shape_of({1024, 512}), INFINITY, DType::kF32, *pool_).value();
  const auto result = engine_->batch_convert(sources, DType::kI8);
  ASSERT_THAT(result, fails_with(ErrorCode::kDataLoss));
  EXPECT_EQ(result.error().detail.index, 2u);
}

TEST_F(BatchTest, WhatCannotBeIsSaidBeforeAnyWork) {
  std::vector<BatchRequest> requests = {
      {test_tensor(shape_of({2, 100}), DType::kF32, *pool_), DType::kI8},
      {test_tensor(shape_of({2, 100}), DType::kF32, *pool_), Encoding::kQ8_0}};
  const uint64_t allocations = pool_->usage().allocations;
  const auto result = engine_->batch_convert_mixed(requests);
  ASSERT_THAT(result, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(result.error().detail.index, 1u);
  EXPECT_EQ(pool_->usage().allocations, allocations);
}

TEST_F(BatchTest, ResultsThatDoNotFitTogetherAreRefusedBeforeAnyWork) {
  ConversionConfig config = batch_config();
  config.max_memory_usage = 5 * 8192;
  const auto engine = ConversionEngine::create(config, *pool_).value();
  const std::vector<Tensor> sources = tensors(6);
  const uint64_t allocations = pool_->usage().allocations;
  const auto result = engine->batch_convert(sources, DType::kF16);
  ASSERT_THAT(result, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(result.error().detail.required, 6u * 8192);
  EXPECT_EQ(pool_->usage().allocations, allocations);
  EXPECT_THAT(engine->batch_convert(std::span(sources).first(5), DType::kF16), is_ok());
  EXPECT_EQ(engine->stats().memory_stats.peak_memory_usage, 5u * 8192);
}

TEST_F(BatchTest, TheReportShowsTheLimitsAtWork) {
  ConversionConfig config = batch_config();
  config.batch.max_batch_size = 8;
  const auto engine = ConversionEngine::create(config, *pool_).value();
  const std::vector<Tensor> sources = tensors(20, shape_of({256, 256}));
  BatchReport report;
  ASSERT_THAT(engine->batch_convert(sources, DType::kF16, {.report = &report}), is_ok());
  ASSERT_EQ(report.batches.size(), 3u);
  EXPECT_EQ(report.batches[0].tensors.size(), 8u);
  EXPECT_EQ(report.batches[0].result_bytes, 8u * 131'072);
  EXPECT_EQ(report.batches[0].threads, 2u);
  EXPECT_THAT(report.batches[2].tensors, ElementsAre(16, 17, 18, 19));

  config.batch.enable_parallel_processing = false;
  config.batch.max_batch_memory = 4 * 131'072;
  const auto serial = ConversionEngine::create(config, *pool_).value();
  report = {};
  ASSERT_THAT(serial->batch_convert(sources, DType::kF16, {.report = &report}), is_ok());
  EXPECT_EQ(report.batches.size(), 5u);
  EXPECT_EQ(report.batches[0].threads, 1u);
}

TEST_F(BatchTest, AsManyThreadsWorkAsTheEngineHas) {
  const std::vector<Tensor> sources = tensors(4, shape_of({512, 512}));
  for (const size_t threads : {size_t{1}, size_t{3}}) {
    ConversionConfig config = batch_config();
    config.worker_threads = threads;
    config.batch.batch_worker_threads = 8;
    const auto engine = ConversionEngine::create(config, *pool_).value();
    BatchReport report;
    ASSERT_THAT(engine->batch_convert(sources, DType::kF16, {.report = &report}), is_ok());
    EXPECT_EQ(report.batches.at(0).threads, threads);
  }
  BatchReport report;
  ASSERT_THAT(engine_->batch_convert(tensors(4), DType::kF16, {.report = &report}), is_ok());
  EXPECT_EQ(report.batches.at(0).threads, 1u) << "so little that waking another takes longer";
}

TEST_F(BatchTest, ShrinksWhileMemoryIsShort) {
  const auto limited = HybridMemoryPool::create({.limit = 64 << 20}).value();
  const auto monitor =
      PressureMonitor::create({.container = PressureWatch::kOff, .stalls = PressureWatch::kOff}).value();
  ASSERT_THAT(monitor->watch(*limited), is_ok());
  const auto engine = ConversionEngine::create(batch_config(), *pool_, monitor.get()).value();
  const std::vector<Tensor> sources = tensors(32);
  const auto batches = [&] {
    BatchReport report;
    EXPECT_THAT(engine->batch_convert(sources, DType::kF16, {.report = &report}), is_ok());
    return report.batches.size();
  };
  EXPECT_EQ(batches(), 1u);
  const Buffer most = Buffer::allocate(*limited, 59 << 20).value();
  ASSERT_EQ(monitor->check(), MemoryPressureLevel::kHigh);
  EXPECT_EQ(batches(), 4u);
}

TEST_F(BatchTest, StopsWhenItIsToldTo) {
  std::stop_source stop;
  const RunControl control{.progress = [&](const Progress&) { stop.request_stop(); },
                           .stop = stop.get_token()};
  const uint64_t before = pool_->usage().allocated;
  const std::vector<Tensor> sources = tensors(100);
  const uint64_t with_sources = pool_->usage().allocated;
  EXPECT_GT(with_sources, before);
  // One thread: it is the one that tells of progress.
  const auto engine = ConversionEngine::create(batch_config(1), *pool_).value();
  const auto result = engine->batch_convert(sources, DType::kI8, {.control = control});
  EXPECT_THAT(result, fails_with(ErrorCode::kCancelled));
  EXPECT_EQ(pool_->usage().allocated, with_sources);
}

TEST_F(BatchTest, EveryFailedAllocationIsReportedAndNothingStays) {
  const std::vector<Tensor> sources = tensors(5);
  fail_each_allocation(
      [&](MemoryResource& memory) -> Status {
        const auto engine = ConversionEngine::create(batch_config(), memory).value();
        LOBIT_RETURN_IF_ERROR(engine->batch_convert(sources, DType::kI8));
        return {};
      },
      [] {});
}

TEST_F(BatchTest, AConverterNeedsNoEngine) {
  BatchConfig config;
  config.batch_worker_threads = 2;
  const auto converter = BatchConverter::create(config).value();
  const std::vector<Tensor> sources = tensors(20);
  const auto results = converter.batch_convert(sources, DType::kF16, *pool_).value();
  for (size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(bytes_of(results[i]), reference_conversion(sources[i], DType::kF16));
  }
  config.max_batch_size = 0;
  EXPECT_THAT(BatchConverter::create(config), fails_with(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace lobit
