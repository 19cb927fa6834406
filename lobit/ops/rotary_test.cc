#include "lobit/ops/rotary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_heap.h"
#include "lobit/base/test_support.h"
#include "lobit/kernels/simd.h"
#include "lobit/ops/view_test_support.h"

namespace lobit::ops {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

void expect_rotated(const Tensor& x, size_t axis, const std::vector<int64_t>& positions,
                    const RotaryOptions& options, const Tensor& result) {
  const std::vector<float> values = values_of(x);
  const std::vector<float> found = values_of(result);
  const uint64_t columns = x.shape().row_elements();
  const uint64_t dims = options.dims == 0 ? columns : options.dims;
  uint64_t inner = 1;
  for (size_t a = axis + 1; a < x.shape().rank(); ++a) inner *= static_cast<uint64_t>(x.shape()[a]);
  for (uint64_t first = 0; first < values.size(); first += columns) {
    const auto position = static_cast<double>(positions[first / inner % positions.size()]);
    for (uint64_t i = 0; i < dims / 2; ++i) {
      const bool halves = options.pairs == RotaryPairs::kHalves;
      const uint64_t a = first + (halves ? i : 2 * i);
      const uint64_t b = first + (halves ? i + dims / 2 : 2 * i + 1);
      const double angle =
          position * std::pow(options.base, -2.0 * static_cast<double>(i) / static_cast<double>(dims));
      const double ax = values[a] * std::cos(angle) - values[b] * std::sin(angle);
      const double bx = values[a] * std::sin(angle) + values[b] * std::cos(angle);
      const double bound = std::hypot(values[a], values[b]) * 0x1p-22;
      ASSERT_NEAR(found[a], ax, bound + 1.01 * rounding_of(ax, result.format().encoding)) << x;
      ASSERT_NEAR(found[b], bx, bound + 1.01 * rounding_of(bx, result.format().encoding)) << x;
    }
    for (uint64_t i = dims; i < columns; ++i) ASSERT_EQ(found[first + i], values[first + i]);
  }
}

TEST(Rotary, MeetsItsBoundOnRandomViewsOfEveryFormat) {
  TestMemory memory;
  std::mt19937 random(51);
  int checked = 0;
  for (int round = 0; round < 3000; ++round) {
    const Tensor x = random_view(random, 2500, memory);
    const uint64_t columns = x.shape().row_elements();
    if (x.elements() == 0 || x.shape().rank() < 2 || columns < 2 || columns > 2048) continue;
    const size_t axis = random() % (x.shape().rank() - 1);
    const RotaryOptions options{
        .pairs = random() % 2 == 0 ? RotaryPairs::kHalves : RotaryPairs::kNeighbours,
        .base = random() % 2 == 0 ? 10'000.0 : 500'000.0,
        .dims = columns % 2 == 0 && random() % 2 == 0 ? 0 : 2 * (1 + random() % (columns / 2))};
    std::vector<int64_t> positions(static_cast<size_t>(x.shape()[axis]));
    const bool listed = random() % 2 == 0;
    const auto first = static_cast<int64_t>(random() % (1 << 24));
    for (size_t t = 0; t < positions.size(); ++t) {
      positions[t] = listed ? static_cast<int64_t>(random() % (1 << 24)) : first + static_cast<int64_t>(t);
    }
    const Result<Tensor> result = listed ? rotary(x, axis, positions, options, memory.context())
                                         : rotary(x, axis, first, options, memory.context());
    ASSERT_THAT(result, is_ok());
    expect_rotated(x, axis, positions, options, *result);
    ++checked;
  }
  EXPECT_GT(checked, 1000);
}

TEST(Rotary, GivesTheSameBitsAtEveryLevelForAnyThreadsAndInPlace) {
  TestMemory memory;
  for (const Encoding encoding : {Encoding::kF32, Encoding::kF16}) {
    for (const RotaryPairs pairs : {RotaryPairs::kHalves, RotaryPairs::kNeighbours}) {
      const RotaryOptions options{.pairs = pairs, .dims = 90};
      const Tensor x = *Tensor::random(shape_of({3, 150, 4, 100}), encoding, memory.resource);
      std::vector<float> expected;
      for (const SimdLevel level : simd_levels()) {
        for (const size_t threads : {size_t{1}, size_t{3}}) {
          ASSERT_TRUE(set_simd_level(level));
          ThreadPool pool = *ThreadPool::create(threads);
          const OpContext context{.memory = &memory.resource, .threads = &pool};
          Tensor self = *x.clone(memory.resource);
          const std::byte* const place = self.bytes()->data();
          ASSERT_THAT(rotary(self, 1, 7, options, self, context), is_ok());
          EXPECT_EQ(self.bytes()->data(), place);
          if (expected.empty()) expected = values_of(*rotary(x, 1, 7, options, context));
          ASSERT_EQ(values_of(self), expected) << simd_level_name(level) << threads;
        }
      }
    }
  }
  set_simd_level(simd_levels().back());
}

TEST(Rotary, LeavesPositionZeroAsItIs) {
  TestMemory memory;
  const Tensor x = *Tensor::random(shape_of({1, 8}), Encoding::kF32, memory.resource);
  EXPECT_EQ(values_of(*rotary(x, 0, 0, {}, memory.context())), values_of(x));
}

TEST(Rotary, TakesNothingFromTheHeap) {
  if (!heap_is_counted()) GTEST_SKIP();
  TestMemory memory;
  const Tensor x = *Tensor::ones(shape_of({2, 2048}), Encoding::kF32, memory.resource);
  Tensor out = *Tensor::ones(shape_of({2, 2048}), Encoding::kF32, memory.resource);
  const HeapPeak peak;
  ASSERT_THAT(rotary(x, 0, 7, {}, out, memory.context()), is_ok());
  EXPECT_LT(peak.bytes(), 1024u);
}

TEST(Rotary, RefusesWhatDoesNotFit) {
  TestMemory memory;
  const OpContext context = memory.context();
  const Tensor x = *Tensor::ones(shape_of({3, 8}), Encoding::kF32, memory.resource);
  EXPECT_THAT(rotary(x, 1, 0, {}, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(rotary(x, 2, 0, {}, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(rotary(x, 0, 0, {.dims = 3}, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(rotary(x, 0, 0, {.dims = 10}, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(rotary(x, 0, 0, {.base = 0}, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(rotary(x, 0, 0, {.base = std::nan("")}, context), fails_with(ErrorCode::kInvalidArgument));
  const int64_t two[] = {1, 2};
  const auto refused = rotary(x, 0, two, {}, context);
  EXPECT_THAT(refused, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(refused.error().message, HasSubstr("expected 3 positions, found 2"));
  const Tensor wide = *Tensor::ones(shape_of({1, 2050}), Encoding::kF32, memory.resource);
  EXPECT_THAT(rotary(wide, 0, 0, {}, context), fails_with(ErrorCode::kUnsupported));
  const Tensor none = *Tensor::empty(shape_of({0, 8}), Encoding::kF32, memory.resource);
  EXPECT_THAT(rotary(none, 0, std::span<const int64_t>(), {}, context), is_ok());
  Tensor out = *Tensor::ones(shape_of({8, 3}), Encoding::kF32, memory.resource);
  EXPECT_THAT(rotary(x, 0, 0, {}, out, context), fails_with(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace lobit::ops
