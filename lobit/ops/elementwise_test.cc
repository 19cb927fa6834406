#include "lobit/ops/elementwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/kernels/reference_elementwise.h"
#include "lobit/kernels/simd.h"
#include "lobit/ops/compare.h"
#include "lobit/ops/op_internal.h"
#include "lobit/ops/op_test_support.h"

namespace lobit::ops {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Elementwise, BroadcastsAsNumPyDoes) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  const Tensor matrix = floats({1, 2, 3, 4, 5, 6}, shape_of({2, 3}), memory);
  const Tensor row = floats({10, 20, 30}, shape_of({3}), memory);
  const Tensor column = floats({100, 200}, shape_of({2, 1}), memory);
  EXPECT_THAT(values_of(*add(matrix, row, context)), ElementsAre(11, 22, 33, 14, 25, 36));
  EXPECT_THAT(values_of(*sub(matrix, column, context)), ElementsAre(-99, -98, -97, -196, -195, -194));
  EXPECT_THAT(values_of(*mul(column, row, context)), ElementsAre(1000, 2000, 3000, 2000, 4000, 6000));
  EXPECT_EQ(mul(column, row, context)->shape(), shape_of({2, 3}));
  EXPECT_THAT(values_of(*div(row, *matrix.slice(0, 0, 1), context)), ElementsAre(10, 10, 10));
  EXPECT_THAT(values_of(*min(matrix, 2.5f, context)), ElementsAre(1, 2, 2.5f, 2.5f, 2.5f, 2.5f));
  EXPECT_THAT(values_of(*sub(10.0f, row, context)), ElementsAre(0, -10, -20));
  const Tensor one = floats({7}, shape_of({}), memory);
  const Tensor sum = *add(one, one, context);
  EXPECT_EQ(sum.shape(), shape_of({}));
  EXPECT_THAT(values_of(sum), ElementsAre(14));
}

TEST(Elementwise, ComputesNothingOfNothing) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  const Tensor none = floats({}, shape_of({3, 0}), memory);
  EXPECT_EQ(exp(none, context)->shape(), shape_of({3, 0}));
  EXPECT_EQ(add(none, floats({1}, shape_of({1}), memory), context)->shape(), shape_of({3, 0}));
}

TEST(Elementwise, KeepsTheFormatOfHalves) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  const std::vector<float> values = numbered(256);
  const auto make = [&](Encoding encoding) {
    return *Tensor::from_values(values, shape_of({256}), ValueFormat{encoding}, memory);
  };
  EXPECT_EQ(neg(make(Encoding::kF16), context)->format().encoding, Encoding::kF16);
  EXPECT_EQ(add(make(Encoding::kBF16), 1.0f, context)->format().encoding, Encoding::kBF16);
  EXPECT_EQ(add(make(Encoding::kBF16), make(Encoding::kF16), context)->format().encoding, Encoding::kF32);
  EXPECT_EQ(neg(make(Encoding::kQ8_0), context)->format().encoding, Encoding::kF32);
  const Tensor large = *mul(make(Encoding::kF16), 1000.0f, context);
  EXPECT_EQ(values_of(large)[254], std::numeric_limits<float>::infinity());
  EXPECT_EQ(values_of(large)[1], -1500.0f);
}

// One random case: what was computed, beside what the definition of the operation says of each value.
class RandomCases {
 public:
  RandomCases(uint32_t seed, const OpContext& context) : numbers_(seed), context_(context) {}

  void run() {
    const Shape shape = numbers_.shape(5);
    const Tensor a = operand(shape);
    const Tensor b = operand(shape);
    const Result<Shape> both = detail::broadcast_shape("add", a.shape(), b.shape());
    ASSERT_THAT(both, is_ok());
    const std::vector<float> left = broadcast_values(a, *both);
    const std::vector<float> right = broadcast_values(b, *both);
    check_binary(a, b, *both, left, right);
    check_unary(a);
    check_masks(a, b, *both, left, right);
  }

 private:
  Tensor operand(const Shape& shape) { return random_operand(shape, numbers_, *context_.memory); }

  void check_binary(const Tensor& a, const Tensor& b, const Shape& shape, const std::vector<float>& left,
                    const std::vector<float>& right) {
    const auto op = static_cast<BinaryOp>(numbers_.below(kernels::kBinaryOps));
    std::vector<float> wanted(left.size());
    for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = kernels::reference::binary(op, left[i], right[i]);
    const Result<Tensor> made = binary(op, a, b, context_);
    ASSERT_THAT(made, is_ok());
    ASSERT_EQ(made->shape(), shape);
    expect_values(*made, wanted);
    const Encoding formats[] = {Encoding::kF32, Encoding::kF16, Encoding::kBF16};
    Tensor out = unwritten(shape, formats[numbers_.below(3)], *context_.memory);
    ASSERT_THAT(binary(op, a, b, out, context_), is_ok());
    expect_values(out, wanted);
    const std::vector<float> before = values_of(b);
    Tensor same = a;  // shares its block with a
    if (same.shape() == shape && detail::result_format({&same}) == same.format()) {
      const std::vector<float> kept = values_of(a);
      ASSERT_THAT(binary(op, same, b, same, context_), is_ok());
      expect_values(same, wanted);
      EXPECT_EQ(bits_of(values_of(a)), bits_of(kept));
      Tensor own = *a.clone(*context_.memory);
      const std::byte* const block = own.bytes()->data();
      ASSERT_THAT(binary(op, own, b, own, context_), is_ok());
      expect_values(own, wanted);
      EXPECT_EQ(own.bytes()->data(), block);
    }
    EXPECT_EQ(bits_of(values_of(b)), bits_of(before));
  }

  void check_unary(const Tensor& a) {
    const auto op = static_cast<UnaryOp>(numbers_.below(kernels::kUnaryOps));
    std::vector<float> wanted = values_of(a);
    for (float& value : wanted) value = kernels::reference::unary(op, value);
    const Result<Tensor> made = unary(op, a, context_);
    ASSERT_THAT(made, is_ok());
    expect_values(*made, wanted);
  }

  void check_masks(const Tensor& a, const Tensor& b, const Shape& shape, const std::vector<float>& left,
                   const std::vector<float>& right) {
    const auto op = static_cast<CompareOp>(numbers_.below(kernels::kCompareOps));
    const Result<Tensor> mask = compare(op, a, b, context_);
    ASSERT_THAT(mask, is_ok());
    ASSERT_EQ(mask->shape(), shape);
    const Result<std::span<const uint8_t>> holds = mask->values<uint8_t>();
    ASSERT_THAT(holds, is_ok());
    std::vector<float> wanted(left.size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      ASSERT_EQ((*holds)[i], kernels::reference::compare(op, left[i], right[i]) ? 1 : 0);
      wanted[i] = (*holds)[i] != 0 ? left[i] : 2.5f;
    }
    const Result<Tensor> chosen = where(*mask, a, 2.5f, context_);
    ASSERT_THAT(chosen, is_ok());
    expect_values(*chosen, wanted);
  }

  RandomNumbers numbers_;
  const OpContext context_;
};

TEST(Elementwise, EveryValueOfEveryViewAndFormat) {
  SystemResource memory;
  for (uint32_t seed = 0; seed < 1200; ++seed) {
    SCOPED_TRACE(seed);
    RandomCases(seed, {.memory = &memory}).run();
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Elementwise, GivesTheSameBitsAtEveryLevelAndForAnyThreads) {
  SystemResource memory;
  RandomNumbers numbers(7);
  const Tensor a =
      *Tensor::from_values(numbers.values(300 * 1000), shape_of({300, 1000}), Encoding::kF16, memory);
  const Tensor whole =
      *Tensor::from_values(numbers.values(300 * 1000), shape_of({1000, 300}), Encoding::kF32, memory);
  const Tensor turned = *whole.transpose();
  std::vector<float> first;
  for (const SimdLevel level : simd_levels()) {
    ASSERT_TRUE(set_simd_level(level));
    for (const size_t threads : {size_t{1}, size_t{2}, size_t{3}}) {
      ThreadPool pool = *ThreadPool::create(threads);
      const OpContext context{.memory = &memory, .threads = &pool};
      const std::vector<float> found = values_of(*gelu(*div(a, turned, context), context));
      if (first.empty()) first = found;
      EXPECT_EQ(bits_of(found), bits_of(first)) << simd_level_name(level) << ", " << threads << " threads";
    }
  }
  set_simd_level(simd_levels().back());
}

TEST(Elementwise, StoresLargeResultsPastTheCaches) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  const Tensor row = *Tensor::from_values(numbered(4099), shape_of({1, 4099}), Encoding::kF32, memory);
  const Tensor rows = *row.broadcast_to(shape_of({2100, 4099}));
  const Tensor sum = *add(rows, 1.0f, context);  // 33 MiB
  const std::span<const float> values = *sum.values<float>();
  for (const size_t i : {size_t{0}, size_t{4098}, size_t{4099}, values.size() / 2, values.size() - 1}) {
    const float magnitude = static_cast<float>(i % 4099) + 0.5f;
    EXPECT_EQ(values[i], (i % 4099 % 2 == 0 ? magnitude : -magnitude) + 1.0f) << i;
  }
}

TEST(Elementwise, WorksInPlaceWhereNobodyElseSees) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  Tensor x = floats({1, 2, 3, 4}, shape_of({2, 2}), memory);
  const std::byte* const block = x.bytes()->data();
  ASSERT_THAT(add(x, x, x, context), is_ok());
  EXPECT_THAT(values_of(x), ElementsAre(2, 4, 6, 8));
  EXPECT_EQ(x.bytes()->data(), block);
  const Tensor turned = *x.transpose();  // from here on the block is shared
  ASSERT_THAT(add(x, turned, x, context), is_ok());
  EXPECT_THAT(values_of(x), ElementsAre(4, 10, 10, 16));
  EXPECT_THAT(values_of(turned), ElementsAre(2, 6, 4, 8));
  EXPECT_NE(x.bytes()->data(), block);
}

TEST(Elementwise, ClampsBetweenItsLimits) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  const Tensor x = floats({-2, -1, 0.5f, 3}, shape_of({4}), memory);
  EXPECT_THAT(values_of(*clamp(x, -1, 1, context)), ElementsAre(-1, -1, 0.5f, 1));
  EXPECT_THAT(clamp(x, 1, -1, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(clamp(x, std::nanf(""), 1, context), fails_with(ErrorCode::kInvalidArgument));
}

TEST(Elementwise, RefusesWhatDoesNotFit) {
  SystemResource memory;
  const OpContext context{.memory = &memory};
  const Tensor four = floats({1, 2, 3, 4}, shape_of({4}), memory);
  const Tensor three = floats({1, 2, 3}, shape_of({3}), memory);
  const auto shapes = add(four, three, context);
  EXPECT_THAT(shapes, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(shapes.error().message, HasSubstr("add: shapes: "));
  EXPECT_THAT(shapes.error().message, HasSubstr("[4] and [3]"));
  EXPECT_THAT(add(1.0f, 2.0f, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(add(four, four, {}), fails_with(ErrorCode::kInvalidArgument));
  Tensor out = three;
  EXPECT_THAT(add(four, four, out, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(values_of(out), ElementsAre(1, 2, 3));
  Tensor mask = *equal(four, 2.0f, context);
  EXPECT_THAT(neg(mask, context), fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(equal(four, four, out = four, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(where(four, 1.0f, 2.0f, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(where(mask, three, 2.0f, context), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(values_of(*where(mask, 1.0f, 2.0f, context)), ElementsAre(2, 1, 2, 2));
}

TEST(Elementwise, TellsTheProfilerOfWhatSucceeded) {
  SystemResource memory;
  OpProfiler profiler;
  const OpContext context{.memory = &memory, .profiler = &profiler};
  const Tensor x = floats({1, 2, 3, 4}, shape_of({2, 2}), memory);
  ASSERT_THAT(add(x, x, context), is_ok());
  Tensor out = floats({1}, shape_of({1}), memory);
  EXPECT_THAT(exp(x, out, context), fails_with(ErrorCode::kInvalidArgument));
  const OpProfile profile = profiler.profile();
  ASSERT_EQ(profile.calls.size(), 1);
  EXPECT_EQ(profile.calls[0].op, "add");
  EXPECT_EQ(profile.calls[0].bytes_read, 32);
  EXPECT_EQ(profile.calls[0].bytes_written, 16);
}

}  // namespace
}  // namespace lobit::ops
