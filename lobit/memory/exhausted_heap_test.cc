// What resources and tensor pools do when the heap has no room for what they remember beside the memory.
#include <memory>
#include <memory_resource>
#include <utility>
#include <vector>

#include "lobit/base/test_heap.h"
#include "lobit/base/test_support.h"
#include "lobit/memory/block_heap_resource.h"
#include "lobit/memory/limiting_resource.h"
#include "lobit/memory/logging_resource.h"
#include "lobit/memory/pmr.h"
#include "lobit/memory/system_resource.h"
#include "lobit/memory/tensor_memory_pool.h"

namespace lobit {
namespace {

class ExhaustedHeap : public testing::Test {
 protected:
  void SetUp() override {
    if (!heap_is_counted()) GTEST_SKIP() << "sanitizers bring their own heap";
  }
};

// Lets each operator new of an allocation fail in turn. `below` is the resource that has the memory.
template <typename Make>
void expect_refusals(Make make) {
  uint64_t refused = 0;
  for (uint64_t number = 1;; ++number) {
    SystemResource below;
    const auto resource = make(below);
    const uint64_t held = resource->usage().allocated;
    const auto [block, failed] = [&] {
      const FailingHeap heap(number);
      Result<void*> result = resource->allocate(1000);
      return std::pair(std::move(result), heap.failed());
    }();
    if (block) {
      ASSERT_THAT(resource->deallocate(*block, 1000), is_ok());
    } else {
      EXPECT_THAT(block, fails_with(ErrorCode::kOutOfMemory));
      ++refused;
    }
    EXPECT_EQ(resource->usage().allocated, held);
    EXPECT_EQ(below.usage().allocated, 0u);
    if (!failed) break;
    // As it was: it works again.
    const Result<void*> again = resource->allocate(1000);
    ASSERT_THAT(again, is_ok());
    EXPECT_THAT(resource->deallocate(*again, 1000), is_ok());
  }
  EXPECT_GE(refused, 1u);
}

TEST_F(ExhaustedHeap, IsAnErrorOfTheSystemResource) {
  expect_refusals([](SystemResource&) { return std::make_unique<SystemResource>(); });
}

TEST_F(ExhaustedHeap, LeavesALimitAsItWas) {
  expect_refusals([](SystemResource& below) { return std::make_unique<LimitingResource>(below, 1500); });
}

TEST_F(ExhaustedHeap, IsAnErrorOfTheStrategyThatGoesBelow) {
  expect_refusals([](SystemResource& below) { return std::make_unique<BlockHeapResource>(below); });
}

TEST_F(ExhaustedHeap, IsAnErrorOfTheLog) {
  static TraceText text;
  expect_refusals([](SystemResource& below) { return std::make_unique<LoggingResource>(below, text); });
}

TEST_F(ExhaustedHeap, IsAnErrorOfAStandardResource) {
  expect_refusals(
      [](SystemResource&) { return std::make_unique<PmrResource>(*std::pmr::new_delete_resource()); });
}

TEST_F(ExhaustedHeap, DoesNotEndTheProgramWithTheLog) {
  for (uint64_t number = 1; number < 10; ++number) {
    SystemResource below;
    TraceText text;
    auto log = std::make_unique<LoggingResource>(below, text);
    const FailingHeap heap(number);
    log.reset();
  }
}

// A tensor is counted if and only if its handle was given out, whichever operator new of a step fails.
TEST_F(ExhaustedHeap, LeavesTensorPoolsWhole) {
  uint64_t failures = 0;
  for (uint64_t number = 1;; ++number) {
    SystemResource below;
    const auto pool = TensorMemoryPool::create(below).value();
    ASSERT_THAT(pool->begin_step(), is_ok());
    std::vector<TensorHandle> live;
    live.reserve(200);
    bool failed = false;
    {
      const FailingHeap heap(number);
      for (size_t i = 0; i < 150; ++i) {
        const auto tensor = pool->allocate_tensor(i, 1000);
        if (tensor) live.push_back(*tensor);
        if (i % 3 == 0 && !live.empty() && pool->deallocate_tensor(live.back())) live.pop_back();
      }
      failed = heap.failed();
    }
    const TensorPoolMetrics metrics = pool->performance_metrics();
    EXPECT_EQ(metrics.live_tensors, live.size());
    EXPECT_EQ(pool->live_tensors(), live);
    EXPECT_EQ(metrics.live_capacity + metrics.retained_bytes, below.usage().allocated);
    for (const TensorHandle& tensor : live) EXPECT_THAT(pool->deallocate_tensor(tensor), is_ok());
    EXPECT_EQ(pool->performance_metrics().live_capacity, 0u);
    EXPECT_THAT(pool->end_step(), is_ok());
    if (!failed) break;
    ++failures;
  }
  EXPECT_GT(failures, 100u);
}

}  // namespace
}  // namespace lobit
