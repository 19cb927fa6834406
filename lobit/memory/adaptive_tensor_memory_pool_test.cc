#include "lobit/memory/adaptive_tensor_memory_pool.h"

#include <atomic>
#include <random>
#include <string>
#include <vector>

#include "lobit/base/test_support.h"
#include "lobit/memory/test_probe.h"

namespace lobit {
namespace {

constexpr size_t kKiB = 1024;

using testing::HasSubstr;

uint64_t slow_clock() {
  static std::atomic<uint64_t> now{0};
  return now += 5000;
}
uint64_t fast_clock() {
  static std::atomic<uint64_t> now{0};
  return now += 50;
}

bool is_standard(const AdaptiveTensorMemoryPool& pool, const TensorHandle& tensor) {
  return tensor.pool == pool.standard().serial();
}

TEST(AdaptiveTensorMemoryPool, RoutesBySizeAndUse) {
  ProbeResource below;
  const auto pool = AdaptiveTensorMemoryPool::create(below).value();
  struct Case {
    size_t bytes;
    TensorUse use;
    bool standard;
  };
  const Case cases[] = {
      {1, TensorUse::kOrdinary, true},
      {32 * kKiB, TensorUse::kOrdinary, true},
      {1024 * kKiB + 1, TensorUse::kOrdinary, false},
      {64 * 1024 * kKiB, TensorUse::kOrdinary, false},
      {1, TensorUse::kWeight, false},
      {32 * kKiB, TensorUse::kWeight, false},
      {500 * kKiB, TensorUse::kWeight, false},
      {100, TensorUse::kTemporary, true},
      {1024 * kKiB, TensorUse::kTemporary, true},
      {1024 * kKiB + 1, TensorUse::kTemporary, false},
  };
  for (const Case& one : cases) {
    // Often, because a choice that took turns would give itself away.
    for (int i = 0; i < 3; ++i) {
      const TensorHandle tensor = pool->allocate_tensor(0, one.bytes, {}, one.use).value();
      EXPECT_EQ(is_standard(*pool, tensor), one.standard) << one.bytes;
      EXPECT_THAT(pool->deallocate_tensor(tensor), is_ok());
    }
  }
}

TEST(AdaptiveTensorMemoryPool, RoutesTheMiddleByTheTimesOfItsCategory) {
  for (const bool standard_is_faster : {true, false}) {
    ProbeResource below;
    const AdaptiveTensorPoolOptions options{
        .standard = {.clock = standard_is_faster ? &fast_clock : &slow_clock},
        .prewarmed = {.clock = standard_is_faster ? &slow_clock : &fast_clock}};
    const auto pool = AdaptiveTensorMemoryPool::create(below, options).value();
    // The first 64 of each category take turns, then 63 of 64 go to the faster pool.
    for (const size_t bytes : {40 * kKiB, 300 * kKiB}) {
      const uint64_t before = pool->performance_stats().standard_allocations;
      for (int i = 0; i < 64 + 640; ++i) {
        const TensorHandle tensor = pool->allocate_tensor(0, bytes).value();
        ASSERT_THAT(pool->deallocate_tensor(tensor), is_ok());
      }
      const uint64_t standard = pool->performance_stats().standard_allocations - before;
      EXPECT_EQ(standard, standard_is_faster ? 32u + 630 : 32u + 10);
    }
    const AdaptivePerformance stats = pool->performance_stats();
    EXPECT_EQ(stats.standard_allocations + stats.prewarmed_allocations, 2u * 704);
    EXPECT_DOUBLE_EQ(stats.standard_mean_ns, standard_is_faster ? 50 : 5000);
    EXPECT_DOUBLE_EQ(stats.prewarmed_mean_ns, standard_is_faster ? 5000 : 50);
  }
}

TEST(AdaptiveTensorMemoryPool, TimesOfOtherCategoriesDoNotDecide) {
  ProbeResource below;
  const auto pool = AdaptiveTensorMemoryPool::create(
                        below, {.standard = {.clock = &fast_clock}, .prewarmed = {.clock = &slow_clock}})
                        .value();
  // Very small tensors are fast in the standard pool; of medium ones nothing is known, so they take turns.
  for (int i = 0; i < 100; ++i) ASSERT_THAT(pool->allocate_tensor(0, 100), is_ok());
  EXPECT_TRUE(is_standard(*pool, pool->allocate_tensor(0, 200 * kKiB).value()));
  EXPECT_FALSE(is_standard(*pool, pool->allocate_tensor(0, 200 * kKiB).value()));
  EXPECT_TRUE(is_standard(*pool, pool->allocate_tensor(0, 200 * kKiB).value()));
}

TEST(AdaptiveTensorMemoryPool, AStrategyOverridesTheRules) {
  ProbeResource below;
  const auto pool =
      AdaptiveTensorMemoryPool::create(below, {.strategy = TensorPoolStrategy::kStandard}).value();
  EXPECT_EQ(pool->strategy(), TensorPoolStrategy::kStandard);
  const TensorHandle weight = pool->allocate_tensor(0, 2048 * kKiB, {}, TensorUse::kWeight).value();
  EXPECT_TRUE(is_standard(*pool, weight));
  pool->set_strategy(TensorPoolStrategy::kPrewarmed);
  const TensorHandle small = pool->allocate_tensor(0, 10).value();
  EXPECT_FALSE(is_standard(*pool, small));
  pool->set_strategy(TensorPoolStrategy::kAdaptive);
  EXPECT_TRUE(is_standard(*pool, pool->allocate_tensor(0, 10).value()));

  // Freed where they came from, whatever the strategy is now.
  EXPECT_THAT(pool->deallocate_tensor(weight), is_ok());
  EXPECT_THAT(pool->deallocate_tensor(small), is_ok());
  EXPECT_EQ(pool->standard().performance_metrics().live_tensors, 1u);
  EXPECT_EQ(pool->prewarmed().performance_metrics().live_tensors, 0u);
  EXPECT_THAT(pool->deallocate_tensor(weight), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(pool->deallocate_tensor({}), fails_with(ErrorCode::kInvalidArgument));
}

TEST(AdaptiveTensorMemoryPool, StaysBoundedOverAMillionTensors) {
  ProbeResource below;
  const auto pool = AdaptiveTensorMemoryPool::create(below, {.standard = {.max_retained_bytes = 8192 * kKiB},
                                                             .prewarmed = {.max_retained_bytes = 8192 * kKiB},
                                                             .prewarm = {.budget = 4096 * kKiB}})
                        .value();
  std::mt19937 random(5);
  std::vector<TensorHandle> live;
  for (int i = 0; i < 1'000'000; ++i) {
    const size_t bytes = (1 + random() % 4) * (size_t{16} << (random() % 16));
    live.push_back(pool->allocate_tensor(0, bytes, {}, static_cast<TensorUse>(random() % 3)).value());
    if (live.size() < 4) continue;
    std::swap(live[random() % 4], live.back());
    ASSERT_THAT(pool->deallocate_tensor(live.back()), is_ok());
    live.pop_back();
  }
  for (const TensorHandle& tensor : live) ASSERT_THAT(pool->deallocate_tensor(tensor), is_ok());
  for (const TensorMemoryPool* one : {&pool->standard(), &pool->prewarmed()}) {
    const TensorPoolMetrics metrics = one->performance_metrics();
    EXPECT_EQ(metrics.live_tensors, 0u);
    EXPECT_EQ(metrics.live_bytes, 0u);
    EXPECT_EQ(metrics.live_capacity, 0u);
    // What may be kept, and four tensors of at most 2 MiB in blocks of at most twice that.
    EXPECT_LE(metrics.peak_bytes, 8192 * kKiB + 4 * 4096 * kKiB);
  }
  const AdaptivePerformance stats = pool->performance_stats();
  EXPECT_EQ(stats.standard_allocations + stats.prewarmed_allocations, 1'000'000u);
  pool->trim();
  EXPECT_EQ(below.live_bytes(), 0u);
}

TEST(AdaptiveTensorMemoryPool, TakesTheRoomThatItsOtherPoolKeeps) {
  ProbeResource below;
  const auto pool =
      AdaptiveTensorMemoryPool::create(below, {.prewarm = {.budget = 100 * kKiB, .sizes = {{100 * kKiB, 1}}}})
          .value();
  below.set_capacity(100 * kKiB);
  const TensorHandle tensor = pool->allocate_tensor(0, 30 * kKiB).value();
  EXPECT_TRUE(is_standard(*pool, tensor));
  EXPECT_EQ(pool->prewarmed().performance_metrics().retained_bytes, 0u);
  EXPECT_THAT(pool->allocate_tensor(0, 80 * kKiB), fails_with(ErrorCode::kOutOfMemory));
}

TEST(AdaptiveTensorMemoryPool, StepsCountBothPools) {
  ProbeResource below;
  const auto pool = AdaptiveTensorMemoryPool::create(below).value();
  for (uint64_t step = 0; step < 4; ++step) {
    ASSERT_THAT(pool->begin_step(), is_ok());
    ASSERT_THAT(pool->begin_step(), fails_with(ErrorCode::kInvalidArgument));
    ASSERT_THAT(pool->allocate_tensor(0, 100), is_ok());          // standard
    ASSERT_THAT(pool->allocate_tensor(0, 5000 * kKiB), is_ok());  // pre-warmed, larger than what is warm
    EXPECT_EQ(pool->end_step().value(), (StepSummary{2, step < 2 ? 0u : 2u, 0}));
  }
  EXPECT_THAT(pool->end_step(), fails_with(ErrorCode::kInvalidArgument));
}

TEST(Recommendations, NameTheCountersBehindThem) {
  ProbeResource below;
  const auto pool = AdaptiveTensorMemoryPool::create(below, {.standard = {.max_retained_bytes = 50}}).value();
  EXPECT_TRUE(pool->recommendations().empty());
  for (int i = 0; i < 200; ++i) {
    ASSERT_THAT(pool->deallocate_tensor(pool->allocate_tensor(0, 100).value()), is_ok());
  }
  std::vector<std::string> advice = pool->recommendations();
  ASSERT_EQ(advice.size(), 1u);
  EXPECT_THAT(advice[0], HasSubstr("standard pool: 0 of 200 allocations hit (0.0 %), and 200 free blocks"));

  for (int i = 0; i < 150; ++i) {
    const TensorHandle large = pool->allocate_tensor(0, 40 * kKiB, {}, TensorUse::kWeight).value();
    ASSERT_THAT(pool->deallocate_tensor(large), is_ok());
  }
  advice = pool->recommendations();
  ASSERT_EQ(advice.size(), 3u);
  EXPECT_THAT(advice[1], HasSubstr("prewarmed pool: keeps 23.5 MiB in 41 free blocks beside 0 B in 0"));
  EXPECT_THAT(advice[2], HasSubstr("tensors took 0 of 40 blocks that were warmed at the start in 150"
                                   " allocations"));
}

TEST(Recommendations, ToWarmWhenBlocksWereOnlyEverMissing) {
  ProbeResource below;
  const auto pool = AdaptiveTensorMemoryPool::create(below, {.prewarm = {.budget = 0}}).value();
  for (int i = 0; i < 100; ++i) ASSERT_THAT(pool->allocate_tensor(0, 100), is_ok());
  const std::vector<std::string> advice = pool->recommendations();
  ASSERT_EQ(advice.size(), 1u);
  EXPECT_THAT(advice[0],
              HasSubstr("standard pool: 0 of 100 allocations hit (0.0 %), and no free block was given"));
}

TEST(Recommendations, NotToKeepMoreWhenItWasTrimmed) {
  ProbeResource below;
  const auto pool = AdaptiveTensorMemoryPool::create(below, {.prewarm = {.budget = 0}}).value();
  for (int i = 0; i < 100; ++i) {
    ASSERT_THAT(pool->deallocate_tensor(pool->allocate_tensor(0, 100).value()), is_ok());
    pool->trim();
  }
  const std::vector<std::string> advice = pool->recommendations();
  ASSERT_EQ(advice.size(), 1u);
  EXPECT_THAT(advice[0], HasSubstr("lack of room below gave 100 free blocks back: trim less often"));
}

TEST(Recommendations, JudgeTheBudgetByWarmedBlocksAlone) {
  ProbeResource below;
  const auto pool = AdaptiveTensorMemoryPool::create(
                        below, {.prewarm = {.budget = 4096 * kKiB, .sizes = {{2048 * kKiB, 2}}}})
                        .value();
  // Steps keep what they allocate, so that blocks are taken ahead for each, and tensors get them.
  std::vector<TensorHandle> tensors;
  for (int step = 0; step < 60; ++step) {
    ASSERT_THAT(pool->begin_step(), is_ok());
    for (int i = 0; i < 2; ++i) {
      tensors.push_back(pool->allocate_tensor(0, 4 * kKiB, {}, TensorUse::kWeight).value());
    }
    ASSERT_THAT(pool->end_step(), is_ok());
  }
  EXPECT_EQ(pool->prewarmed().performance_metrics().prefetched, 2u * 58);
  EXPECT_EQ(pool->prewarmed().performance_metrics().hits, 2u * 58);
  bool judged = false;
  for (const std::string& one : pool->recommendations()) {
    judged |= one.find("tensors took 0 of 2 blocks that were warmed at the start") != std::string::npos;
  }
  EXPECT_TRUE(judged);
}

TEST(Recommendations, AgainstAStrategyThatMeasuredSlower) {
  ProbeResource below;
  const AdaptiveTensorPoolOptions options{
      .standard = {.clock = &slow_clock}, .prewarmed = {.clock = &fast_clock}, .prewarm = {.budget = 0}};
  const auto pool = AdaptiveTensorMemoryPool::create(below, options).value();
  for (const TensorPoolStrategy strategy : {TensorPoolStrategy::kPrewarmed, TensorPoolStrategy::kStandard}) {
    pool->set_strategy(strategy);
    // One stays, so that what the pool keeps is not too much.
    for (int i = 0; i < 250; ++i) {
      const TensorHandle tensor = pool->allocate_tensor(0, 100 * kKiB).value();
      if (i == 0) continue;
      ASSERT_THAT(pool->deallocate_tensor(tensor), is_ok());
    }
    const std::vector<std::string> advice = pool->recommendations();
    if (strategy == TensorPoolStrategy::kPrewarmed) {
      EXPECT_TRUE(advice.empty());
    } else {
      ASSERT_EQ(advice.size(), 1u);
      EXPECT_THAT(advice[0], HasSubstr("strategy standard: medium tensors took 5000 ns of late in 250 "
                                       "allocations, in the other pool 50 ns in 250"));
    }
  }
}

TEST(CreateBestTensorPool, WarmsWhatIsLargeWithinHalfTheBudget) {
  ProbeResource below;
  const auto pool = create_best_tensor_pool(below, {.sizes = {{1000, 50}, {100 * kKiB, 4}, {4096 * kKiB, 10}},
                                                    .memory_budget = 20480 * kKiB})
                        .value();
  EXPECT_EQ(pool->strategy(), TensorPoolStrategy::kAdaptive);
  EXPECT_EQ(below.live_bytes(), (2 * 4096 + 4 * 100) * kKiB);
  EXPECT_EQ(pool->standard().performance_metrics().retained_bytes, 0u);
}

TEST(CreateBestTensorPool, LeavesSmallTensorsToTheStandardPool) {
  ProbeResource below;
  const auto pool = create_best_tensor_pool(below, {.sizes = {{1000, 50}, {32 * kKiB, 4}}}).value();
  EXPECT_EQ(pool->strategy(), TensorPoolStrategy::kStandard);
  EXPECT_EQ(below.calls(), 0u);
  ASSERT_THAT(pool->deallocate_tensor(pool->allocate_tensor(0, 8192 * kKiB).value()), is_ok());
  EXPECT_EQ(pool->standard().performance_metrics().retained_bytes, 8192 * kKiB);
}

TEST(CreateBestTensorPool, KeepsNothingWithoutABudget) {
  ProbeResource below;
  const auto pool = create_best_tensor_pool(below, {.sizes = {{100 * kKiB, 4}}, .memory_budget = 0}).value();
  ASSERT_THAT(pool->deallocate_tensor(pool->allocate_tensor(0, 100 * kKiB).value()), is_ok());
  EXPECT_EQ(below.live_bytes(), 0u);
}

}  // namespace
}  // namespace lobit
