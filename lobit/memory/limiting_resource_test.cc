#include "lobit/memory/limiting_resource.h"

#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

TEST(LimitingResource, RefusesAboveTheLimitAndServesAgainAfterAFree) {
  SystemResource system;
  LimitingResource limited(system, 1000);
  void* a = *limited.allocate(600);
  void* b = *limited.allocate(400);
  EXPECT_EQ(limited.counted(), 1000u);
  const auto refused = limited.allocate(1);
  ASSERT_THAT(refused, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(refused.error().detail.required, 1u);
  EXPECT_EQ(refused.error().detail.available, 0u);
  EXPECT_EQ(system.usage().allocations, 2u) << "the resource below was not asked";

  ASSERT_THAT(limited.deallocate(a, 600), is_ok());
  EXPECT_EQ(limited.allocate(601).error().detail.available, 600u);
  a = *limited.allocate(600);
  ASSERT_THAT(limited.deallocate(a, 600), is_ok());
  ASSERT_THAT(limited.deallocate(b, 400), is_ok());
  EXPECT_EQ(limited.counted(), 0u);
  EXPECT_EQ(limited.limit(), 1000u);
}

TEST(LimitingResource, CountsBytesAsTheyWereAskedFor) {
  SystemResource system;
  LimitingResource limited(system, 10);
  void* block = *limited.allocate(10, 4096);
  EXPECT_EQ(limited.counted(), 10u);
  EXPECT_EQ(limited.usage().used, 4096u) << "what the system rounded it to";
  ASSERT_THAT(limited.deallocate(block, 10, 4096), is_ok());
}

TEST(LimitingResource, WithoutLimitOnlyTheResourceBelowRefuses) {
  SystemResource system;
  LimitingResource limited(system, UINT64_MAX);
  void* block = *limited.allocate(1);
  EXPECT_THAT(limited.allocate(SIZE_MAX - 1), fails_with(ErrorCode::kOutOfMemory));
  EXPECT_THAT(limited.allocate(SIZE_MAX), fails_with(ErrorCode::kLimit)) << "1 + SIZE_MAX fits no counter";
  EXPECT_EQ(limited.counted(), 1u);
  ASSERT_THAT(limited.deallocate(block, 1), is_ok());
}

TEST(LimitingResource, RollsBackWhatTheResourceBelowRefuses) {
  SystemResource system;
  FailingResource failing(system, {.every = 1});
  LimitingResource limited(failing, 1000);
  EXPECT_THAT(limited.allocate(1000), fails_with(ErrorCode::kOutOfMemory));
  EXPECT_EQ(limited.counted(), 0u);
  failing.set_plan({});
  void* block = *limited.allocate(1000);
  EXPECT_THAT(limited.deallocate(block, 999), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(limited.counted(), 1000u);
  ASSERT_THAT(limited.deallocate(block, 1000), is_ok());
}

TEST(LimitingResource, RefusesMoreThanWasAllocatedHere) {
  SystemResource system;
  LimitingResource limited(system, 1000);
  void* outside = *system.allocate(100);
  EXPECT_THAT(limited.deallocate(outside, 100), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(limited.counted(), 0u);
  ASSERT_THAT(system.deallocate(outside, 100), is_ok());
}

// Knows at every instant how much is allocated through it, and the most that was.
class Witness final : public MemoryResource {
 public:
  uint64_t peak() const { return peak_; }

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override {
    const uint64_t now = live_.fetch_add(bytes) + bytes;
    uint64_t peak = peak_;
    while (now > peak && !peak_.compare_exchange_weak(peak, now)) {
    }
    return below_.allocate(bytes, alignment, stream);
  }
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override {
    LOBIT_RETURN_IF_ERROR(below_.deallocate(pointer, bytes, alignment, stream));
    live_ -= bytes;
    return {};
  }
  MemoryUsage do_usage() const override { return below_.usage(); }

  SystemResource below_;
  std::atomic<uint64_t> live_ = 0;
  std::atomic<uint64_t> peak_ = 0;
};

TEST(LimitingResource, ThreadsAreNeverAboveTheLimitTogether) {
  constexpr uint64_t kLimit = 5000;
  Witness witness;
  LimitingResource limited(witness, kLimit);
  std::atomic<uint64_t> refused = 0;
  std::vector<std::jthread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      Random random(seed);
      struct Held {
        void* pointer;
        size_t bytes;
      };
      std::vector<Held> held;
      for (int i = 0; i < 3000; ++i) {
        const size_t bytes = random.size(2000);
        if (const Result<void*> block = limited.allocate(bytes)) {
          held.push_back({*block, bytes});
        } else {
          EXPECT_EQ(block.error().code, ErrorCode::kLimit);
          ++refused;
        }
        if (held.size() > random.below(10)) {
          EXPECT_THAT(limited.deallocate(held.back().pointer, held.back().bytes), is_ok());
          held.pop_back();
        }
      }
      for (const Held& block : held) EXPECT_THAT(limited.deallocate(block.pointer, block.bytes), is_ok());
    });
  }
  threads.clear();
  EXPECT_LE(witness.peak(), kLimit);
  EXPECT_GT(witness.peak(), kLimit / 2);
  EXPECT_GT(refused, 0u);
  EXPECT_EQ(limited.counted(), 0u);
}

}  // namespace
}  // namespace lobit
