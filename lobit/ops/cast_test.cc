#include "lobit/ops/cast.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/ops/elementwise.h"
#include "lobit/ops/op_test_support.h"

namespace lobit::ops {
namespace {

using enum Encoding;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

class Cast : public testing::Test {
 protected:
  template <typename T>
  Tensor numbers(const std::vector<T>& values, Encoding encoding) {
    return *Tensor::from_bytes(std::as_bytes(std::span(values)),
                               shape_of({static_cast<int64_t>(values.size())}), encoding, memory_);
  }
  template <typename T>
  std::vector<T> cast_to(const Tensor& x, Encoding to) {
    const Result<Tensor> made = cast(x, to, context_);
    EXPECT_THAT(made, is_ok());
    const std::span<const T> values = *made->values<T>();
    return {values.begin(), values.end()};
  }
  // The index of the first value that `to` cannot hold.
  uint64_t lost(const Tensor& x, Encoding to) {
    const Result<Tensor> made = cast(x, to, context_);
    EXPECT_THAT(made, fails_with(ErrorCode::kDataLoss));
    EXPECT_THAT(made.error().message, HasSubstr(std::string(encoding_name(to))));
    return made.error().detail.index.value();
  }

  SystemResource memory_;
  const OpContext context_{.memory = &memory_};
};

TEST_F(Cast, RoundsToTheNearestEvenInteger) {
  const Tensor x = floats({0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 2.49f, -127.6f, 127.4f}, shape_of({8}), memory_);
  EXPECT_THAT(cast_to<int8_t>(x, kRawI8), ElementsAre(0, 2, 2, 0, -2, 2, -128, 127));
  EXPECT_THAT(cast_to<int64_t>(x, kRawI64), ElementsAre(0, 2, 2, 0, -2, 2, -128, 127));
}

TEST_F(Cast, NamesTheFirstValueThatDoesNotFit) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(lost(floats({1, 127.5f, 300}, shape_of({3}), memory_), kRawI8), 1);
  EXPECT_EQ(lost(floats({1, 2, std::nanf("")}, shape_of({3}), memory_), kRawI32), 2);
  EXPECT_EQ(lost(floats({0, -1}, shape_of({2}), memory_), kRawU64), 1);
  EXPECT_EQ(lost(floats({kInf}, shape_of({1}), memory_), kRawI64), 0);
  EXPECT_EQ(lost(floats({0x1p63f}, shape_of({1}), memory_), kRawI64), 0);
  EXPECT_EQ(lost(floats({1, 65520.0f}, shape_of({2}), memory_), kF16), 1);
  EXPECT_EQ(lost(numbers<double>({1, 1e39}, kF64), kF32), 1);
  EXPECT_EQ(lost(numbers<double>({1e300}, kF64), kBF16), 0);
  EXPECT_EQ(lost(numbers<int64_t>({5, -129}, kRawI64), kRawI8), 1);
  EXPECT_EQ(lost(numbers<uint64_t>({uint64_t{1} << 63}, kRawU64), kRawI64), 0);
  EXPECT_EQ(lost(numbers<int32_t>({70000}, kRawI32), kF16), 0);
  EXPECT_THAT(cast_to<int64_t>(floats({-0x1p63f}, shape_of({1}), memory_), kRawI64),
              ElementsAre(std::numeric_limits<int64_t>::min()));
}

TEST_F(Cast, NamesTheFirstOfManyForAnyThreads) {
  std::vector<float> values(400'000, 1.0f);
  for (const size_t i : {size_t{399'999}, size_t{250'000}, size_t{131'073}}) values[i] = 1e9f;
  const Tensor x = *Tensor::from_values(values, shape_of({400'000}), kF32, memory_);
  ThreadPool pool = *ThreadPool::create(3);
  const Result<Tensor> made = cast(x, kRawI8, {.memory = &memory_, .threads = &pool});
  ASSERT_THAT(made, fails_with(ErrorCode::kDataLoss));
  EXPECT_EQ(made.error().detail.index, 131'073);
}

TEST_F(Cast, KeepsNanAndInfinityInFloats) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const Tensor x = floats({kInf, -kInf, std::nanf("")}, shape_of({3}), memory_);
  for (const Encoding to : {kF16, kBF16, kF32}) {
    const std::vector<float> values = values_of(*cast(x, to, context_));
    EXPECT_EQ(values[0], kInf);
    EXPECT_EQ(values[1], -kInf);
    EXPECT_TRUE(std::isnan(values[2]));
  }
  EXPECT_THAT(cast_to<double>(floats({kInf, 0.1f}, shape_of({2}), memory_), kF64),
              ElementsAre(std::numeric_limits<double>::infinity(), static_cast<double>(0.1f)));
}

TEST_F(Cast, RoundsIntegersAndDoublesOnce) {
  // In F32 first, these would become ties that BF16 and F16 round the other way.
  const int64_t above_tie = (int64_t{257} << 24) + 1;
  const Tensor x = numbers<int64_t>({above_tie, -above_tie, (int64_t{1} << 24) + 1, 3}, kRawI64);
  EXPECT_THAT(values_of(*cast(x, kBF16, context_)), ElementsAre(0x1.02p32f, -0x1.02p32f, 0x1p24f, 3));
  EXPECT_THAT(values_of(*cast(x, kF32, context_)), ElementsAre(0x1.01p32f, -0x1.01p32f, 0x1p24f, 3));
  const Tensor doubles = numbers<double>({1 + 0x1p-11 + 0x1p-40, 1 + 0x1p-11 - 0x1p-40, 1 + 0x1p-11}, kF64);
  EXPECT_THAT(values_of(*cast(doubles, kF16, context_)), ElementsAre(1 + 0x1p-10f, 1, 1));
}

TEST_F(Cast, TakesBytesAsMasksAndMasksAsNumbers) {
  const Tensor x = floats({0, -0.0f, 0.25f, std::nanf("")}, shape_of({4}), memory_);
  EXPECT_THAT(cast_to<uint8_t>(x, kBool), ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(values_of(*cast(numbers<uint8_t>({0, 1, 1}, kBool), kF32, context_)), ElementsAre(0, 1, 1));
}

TEST_F(Cast, ReadsViewsOfEveryNumberAndFormat) {
  std::vector<int64_t> values(60 * 70);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int64_t>(i) - 2000;
  const Tensor whole =
      *Tensor::from_bytes(std::as_bytes(std::span(values)), shape_of({60, 70}), kRawI64, memory_);
  for (const Encoding encoding : {kRawI16, kRawI32, kRawI64, kF64, kF32}) {
    const Tensor turned = *cast(whole, encoding, context_)->transpose()->slice(0, 3, 70);
    const std::vector<float> found = values_of(*cast(turned, kF32, context_));
    for (size_t i = 0; i < found.size(); ++i) {
      ASSERT_EQ(found[i], static_cast<float>(values[i % 60 * 70 + i / 60 + 3])) << encoding_name(encoding);
    }
  }
  for (const ValueFormat format : formats_for(100)) {
    const Tensor x = *Tensor::from_values(numbered(7 * 100), shape_of({7, 100}), format, memory_);
    EXPECT_THAT(values_of(*cast(x, kF32, context_)), ElementsAreArray(values_of(x))) << to_string(format);
  }
  const Tensor row = *floats({3}, shape_of({1}), memory_).broadcast_to(shape_of({5}));
  EXPECT_THAT(cast_to<int16_t>(row, kRawI16), ElementsAre(3, 3, 3, 3, 3));
}

TEST_F(Cast, IntoATensorAndInPlace) {
  Tensor x = floats({1, 2, 3}, shape_of({3}), memory_);
  ASSERT_THAT(cast(x, x, context_), is_ok());
  EXPECT_THAT(values_of(x), ElementsAre(1, 2, 3));
  Tensor out = numbers<int32_t>({0, 0, 0}, kRawI32);
  ASSERT_THAT(cast(x, out, context_), is_ok());
  EXPECT_THAT(*out.values<int32_t>(), ElementsAre(1, 2, 3));
  const Tensor shared = out;
  EXPECT_THAT(cast(floats({9, 1e10f, 9}, shape_of({3}), memory_), out, context_),
              fails_with(ErrorCode::kDataLoss));
  EXPECT_THAT(*shared.values<int32_t>(), ElementsAre(1, 2, 3));
}

TEST_F(Cast, RefusesWhatItDoesNotKnow) {
  const Tensor x = *Tensor::zeros(shape_of({32}), kF32, memory_);
  const Result<Tensor> blocks = cast(x, kQ8_0, context_);
  EXPECT_THAT(blocks, fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(blocks.error().message, HasSubstr("q8_0"));
  const std::vector<uint8_t> bytes(8);
  EXPECT_THAT(cast(numbers(bytes, kF8E4M3), kF32, context_), fails_with(ErrorCode::kUnsupported));
  EXPECT_THAT(cast(x, kF16, {}), fails_with(ErrorCode::kInvalidArgument));
}

}  // namespace
}  // namespace lobit::ops
