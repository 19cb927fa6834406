#include "lobit/memory/failing_resource.h"

#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/buffer.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

// Which of `count` allocations of `bytes` fail.
std::vector<int> failing_numbers(FailingResource& resource, int count, size_t bytes = 10) {
  std::vector<int> numbers;
  for (int number = 1; number <= count; ++number) {
    const Result<Buffer> buffer = Buffer::allocate(resource, bytes);
    if (buffer) continue;
    EXPECT_EQ(buffer.error().code, ErrorCode::kOutOfMemory);
    EXPECT_EQ(buffer.error().detail.required, bytes);
    numbers.push_back(number);
  }
  return numbers;
}

TEST(FailingResource, FailsWhatThePlanSays) {
  SystemResource system;
  FailingResource failing(system);
  EXPECT_TRUE(failing_numbers(failing, 10).empty());

  failing.set_plan({.number = 3});
  EXPECT_EQ(failing_numbers(failing, 10), std::vector{3});
  EXPECT_EQ(failing.allocations(), 10u);
  EXPECT_EQ(failing.failures(), 1u);

  failing.set_plan({.every = 4});
  EXPECT_EQ(failing_numbers(failing, 10), (std::vector{4, 8}));

  failing.set_plan({.number = 1, .every = 5});
  EXPECT_EQ(failing_numbers(failing, 10), (std::vector{1, 5, 10}));

  failing.set_plan({.above_bytes = 100});
  EXPECT_EQ(failing_numbers(failing, 3, 100).size(), 0u);
  EXPECT_EQ(failing_numbers(failing, 3, 101).size(), 3u);
  EXPECT_EQ(system.usage().allocated, 0u);
}

TEST(FailingResource, FailsTheSameRandomShareForASeed) {
  SystemResource system;
  FailingResource failing(system);
  failing.set_plan({.probability = 0.25, .seed = 7});
  const std::vector<int> first = failing_numbers(failing, 4000);
  // Five standard deviations around 1000.
  EXPECT_GT(first.size(), 863u);
  EXPECT_LT(first.size(), 1137u);
  failing.set_plan({.probability = 0.25, .seed = 7});
  EXPECT_EQ(failing_numbers(failing, 4000), first);
  failing.set_plan({.probability = 0.25, .seed = 8});
  EXPECT_NE(failing_numbers(failing, 4000), first);
  failing.set_plan({.probability = 1});
  EXPECT_EQ(failing_numbers(failing, 10).size(), 10u);
  failing.set_plan({.probability = 0});
  EXPECT_EQ(failing_numbers(failing, 10).size(), 0u);
}

TEST(FailingResource, CountsNoInvalidRequests) {
  SystemResource system;
  FailingResource failing(system, {.number = 1});
  EXPECT_THAT(failing.allocate(0), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(failing.allocate(1, 3), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(failing.allocations(), 0u);
  EXPECT_THAT(failing.allocate(1), fails_with(ErrorCode::kOutOfMemory));
}

// The way in which tests use it: every allocation of a piece of work fails once, and nothing leaks.
TEST(FailingResource, WalksThroughEveryAllocationOfSomeWork) {
  SystemResource system;
  FailingResource failing(system);
  const auto work = [&]() -> Status {
    LOBIT_TRY(const Buffer a, Buffer::allocate(failing, 100));
    LOBIT_TRY(const Buffer b, Buffer::allocate(failing, 200));
    LOBIT_TRY(const Buffer c, Buffer::allocate(failing, 300));
    return {};
  };
  uint64_t runs = 0;
  do {
    failing.set_plan({.number = ++runs});
    const bool worked = work().has_value();
    EXPECT_EQ(worked, failing.failures() == 0);
    EXPECT_EQ(system.usage().allocated, 0u);
  } while (failing.failures() > 0);
  EXPECT_EQ(runs, 4u);
}

}  // namespace
}  // namespace lobit
