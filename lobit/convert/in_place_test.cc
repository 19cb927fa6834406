// Conversion of tensors where they lie, through the engine and through InPlaceConverter.
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/convert/conversion_engine.h"
#include "lobit/convert/in_place_converter.h"
#include "lobit/convert/tensor_test_support.h"
#include "lobit/convert/zero_copy_converter.h"
#include "lobit/memory/statistics_resource.h"

namespace lobit {
namespace {

using ::testing::HasSubstr;

class InPlaceTest : public ::testing::Test {
 protected:
  InPlaceTest() { engine_ = ConversionEngine::create(fast_config(3), *pool_).value(); }

  std::unique_ptr<HybridMemoryPool> pool_ = HybridMemoryPool::create().value();
  std::unique_ptr<ConversionEngine> engine_;
};

TEST_F(InPlaceTest, EqualsTheConversionIntoNewMemoryForEveryLengthAndPairThatShrinks) {
  size_t converted = 0;
  for (int64_t n = 1; n <= 1000; n += n < 70 || n > 990 ? 1 : 9) {
    const Shape shape = shape_of({n});
    for (const DType from : kAllDTypes) {
      const Tensor source = test_tensor(shape, from, *pool_, static_cast<uint32_t>(n));
      for (const DType to : kAllDTypes) {
        if (from == to) continue;
        Tensor tensor = source.clone(*pool_).value();
        if (!engine_->in_place_convert(tensor, to)) continue;
        ++converted;
        ASSERT_EQ(bytes_of(tensor), reference_conversion(source, to))
            << n << " " << dtype_name(from) << " to " << dtype_name(to);
      }
    }
  }
  // At least F32 to each of seven and F16 to each of six, for each of 236 lengths.
  EXPECT_GT(converted, 13u * 180);
}

TEST_F(InPlaceTest, EveryLengthOfF32BecomesEveryDType) {
  for (int64_t n = 1; n <= 1000; n += n < 300 ? 1 : 7) {
    const Tensor source = test_tensor(shape_of({n}), DType::kF32, *pool_);
    for (const DType to :
         {DType::kF16, DType::kBF16, DType::kI8, DType::kI4, DType::kI2, DType::kI1, DType::kBitNet158}) {
      Tensor tensor = source.clone(*pool_).value();
      ASSERT_THAT(engine_->in_place_convert(tensor, to), is_ok()) << n << dtype_name(to);
      ASSERT_EQ(bytes_of(tensor), reference_conversion(source, to)) << n << dtype_name(to);
    }
  }
}

TEST_F(InPlaceTest, AMillionValuesInSegmentsByAllThreads) {
  const Shape shape = shape_of({1'000'000});
  for (const DType from : {DType::kF32, DType::kF16}) {
    const Tensor source = test_tensor(shape, from, *pool_);
    for (const DType to : {DType::kBF16, DType::kI8, DType::kBitNet158}) {
      const Tensor expected = engine_->convert(source, to).value();
      Tensor tensor = source.clone(*pool_).value();
      ASSERT_THAT(engine_->in_place_convert(tensor, to), is_ok());
      EXPECT_EQ(bytes_of(tensor), bytes_of(expected)) << dtype_name(from) << " to " << dtype_name(to);
    }
  }
}

TEST_F(InPlaceTest, TakesNoMemoryBesideAndKeepsTheIdentity) {
  StatisticsResource memory(*pool_);
  Tensor tensor = test_tensor(shape_of({64, 256}), DType::kF32, memory);
  tensor.set_name("w");
  const uint64_t id = tensor.id();
  const std::byte* const place = tensor.bytes()->data();
  const uint64_t allocations = memory.statistics().allocations;
  const auto engine = ConversionEngine::create(ConversionConfig(), memory).value();
  ASSERT_THAT(engine->in_place_convert(tensor, DType::kI4), is_ok());
  EXPECT_EQ(memory.statistics().allocations, allocations);
  EXPECT_EQ(tensor.id(), id);
  EXPECT_EQ(tensor.name(), "w");
  EXPECT_EQ(tensor.bytes()->data(), place);
  EXPECT_EQ(tensor.dtype(), DType::kI4);
}

TEST_F(InPlaceTest, AHolderOfTheSameMemoryKeepsItsValues) {
  Tensor tensor = test_tensor(shape_of({4, 100}), DType::kF32, *pool_);
  const Tensor other = tensor;
  const std::vector<std::byte> before = bytes_of(other);
  const auto expected = reference_conversion(other, DType::kI8);
  ASSERT_THAT(engine_->in_place_convert(tensor, DType::kI8), is_ok());
  EXPECT_EQ(bytes_of(other), before);
  EXPECT_EQ(bytes_of(tensor), expected);
  EXPECT_EQ(tensor.id(), other.id());
}

TEST_F(InPlaceTest, ToGrowIsRefusedWithBothSizes) {
  Tensor tensor = test_tensor(shape_of({4, 256}), DType::kF16, *pool_);
  const auto before = bytes_of(tensor);
  const Status status = engine_->in_place_convert(tensor, DType::kF32);
  ASSERT_THAT(status, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(status.error().detail.required, 4096u);
  EXPECT_EQ(status.error().detail.available, 2048u);
  EXPECT_EQ(bytes_of(tensor), before);
}

TEST_F(InPlaceTest, AnErrorLeavesTheTensorAsItWas) {
  for (const DType to : {DType::kI8, DType::kF16}) {
    for (const Shape& shape : {shape_of({300, 256}), shape_of({11, 9001})}) {
      std::vector<float> values = test_weights(shape.elements());
      values[shape.elements() - 5] = to == DType::kF16 ? 1e30f : std::numeric_limits<float>::infinity();
      Tensor tensor = Tensor::from_values(values, shape, DType::kF32, *pool_).value();
      const auto before = bytes_of(tensor);
      const Status status = engine_->in_place_convert(tensor, to);
      ASSERT_THAT(status, fails_with(ErrorCode::kDataLoss));
      EXPECT_EQ(status.error().detail.index, shape.elements() - 5);
      EXPECT_EQ(bytes_of(tensor), before);
      EXPECT_EQ(tensor.dtype(), DType::kF32);
    }
  }
}

TEST(InPlaceConverter, TheStrictOneRefusesToRound) {
  const auto pool = HybridMemoryPool::create().value();
  Tensor tensor = test_tensor(shape_of({2, 64}), DType::kF32, *pool);
  const auto before = bytes_of(tensor);
  const Status status = InPlaceConverter().convert_in_place(tensor, DType::kBF16);
  ASSERT_THAT(status, fails_with(ErrorCode::kDataLoss));
  EXPECT_THAT(status.error().message, HasSubstr("element 0: bf16 cannot hold"));
  EXPECT_EQ(bytes_of(tensor), before);
  ASSERT_THAT(InPlaceConverter::lossy().convert_in_place(tensor, DType::kBF16), is_ok());
  EXPECT_EQ(tensor.dtype(), DType::kBF16);
  // What fits is no loss.
  Tensor ones = Tensor::ones(shape_of({2, 64}), DType::kF32, *pool).value();
  ASSERT_THAT(InPlaceConverter().convert_in_place(ones, DType::kF16), is_ok());
  EXPECT_EQ(reference_values(ones), std::vector<float>(128, 1.0f));
}

// Rows whose values are codes times a scale, in short groups and in ones that are measured piece by piece.
TEST(InPlaceConverter, TheStrictOneKnowsWhichValuesPlanarFormatsHold) {
  const auto pool = HybridMemoryPool::create().value();
  for (const ScaleGroup scales : {ScaleGroup::kRow, ScaleGroup::kTensor, ScaleGroup::k64}) {
    for (const Encoding encoding : {Encoding::kQ8_0, Encoding::kQ4_0, Encoding::kTQ2_0}) {
      for (const int64_t columns : {70, 5002}) {
        const ValueFormat format{encoding, scales};
        SCOPED_TRACE(to_string(format) + " " + std::to_string(columns));
        const Tensor weights = test_tensor(shape_of({3, columns}), DType::kF32, *pool);
        Tensor tensor = test_tensor(shape_of({3, columns}), DType::kF32, *pool);
        ASSERT_THAT(InPlaceConverter::lossy().convert_in_place(tensor, format), is_ok());
        const std::vector<float> held = reference_values(tensor);
        Tensor again = Tensor::from_values(held, tensor.shape(), DType::kF32, *pool).value();
        ASSERT_THAT(InPlaceConverter().convert_in_place(again, format), is_ok());
        EXPECT_EQ(reference_values(again), held);

        std::vector<float> off = held;
        const auto last = static_cast<size_t>(columns) * 3 - 1;
        off[last] += 0.37f * (off[last] - off[last - 1]) + 1e-3f;
        Tensor refused = Tensor::from_values(off, tensor.shape(), DType::kF32, *pool).value();
        const auto before = bytes_of(refused);
        ASSERT_THAT(InPlaceConverter().convert_in_place(refused, format), fails_with(ErrorCode::kDataLoss));
        EXPECT_EQ(bytes_of(refused), before);
      }
    }
  }
}

TEST(InPlaceConverter, TheFastOneDoesNotLookFirst) {
  const auto pool = HybridMemoryPool::create().value();
  const auto with_inf = [&] {
    std::vector<float> values(5000, 1.0f);
    values[4999] = std::numeric_limits<float>::infinity();
    return Tensor::from_values(values, shape_of({5000, 1}), DType::kF32, *pool).value();
  };
  Tensor careful = with_inf();
  const auto before = bytes_of(careful);
  EXPECT_THAT(
      InPlaceConverter::lossy().convert_in_place(careful, ValueFormat{Encoding::kQ8_0, ScaleGroup::kRow}),
      fails_with(ErrorCode::kInvalidArgument));  // a scale for each value needs more room
  Tensor tensor = with_inf().reshape(shape_of({50, 100})).value();
  EXPECT_THAT(
      InPlaceConverter::fast().convert_in_place(tensor, ValueFormat{Encoding::kQ8_0, ScaleGroup::kRow}),
      fails_with(ErrorCode::kDataLoss));
  EXPECT_NE(bytes_of(tensor), before);
}

TEST(ZeroCopyConverter, ShowsBitsAndSaysSo) {
  const auto pool = HybridMemoryPool::create().value();
  const Tensor ones = Tensor::ones(shape_of({3}), DType::kF16, *pool).value();
  const ZeroCopyConverter converter;
  EXPECT_TRUE(converter.reinterpret(ones, DType::kF16)->shares_storage_with(ones));
  const Tensor view = converter.reinterpret(ones, DType::kBF16).value();
  EXPECT_TRUE(view.shares_storage_with(ones));
  EXPECT_EQ(view.values<uint16_t>().value()[0], 0x3C00);
  EXPECT_FALSE(converter.can_reinterpret(ones, DType::kF32));
  EXPECT_THAT(ZeroCopyConverter::strict().reinterpret(ones, DType::kBF16),
              fails_with(ErrorCode::kUnsupported));
  EXPECT_TRUE(ZeroCopyConverter::strict().can_reinterpret(ones, DType::kF16));
}

}  // namespace
}  // namespace lobit
