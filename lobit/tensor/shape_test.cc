#include "lobit/tensor/shape.h"

#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"

namespace lobit {
namespace {

TEST(Shape, CountsElementsAndRows) {
  const auto shape = Shape::create(std::vector<int64_t>{4, 3, 5});
  ASSERT_THAT(shape, is_ok());
  EXPECT_EQ(shape->elements(), 60u);
  EXPECT_EQ(shape->rows(), 12u);
  EXPECT_EQ(shape->row_elements(), 5u);
  EXPECT_EQ(shape->to_string(), "[4, 3, 5]");
}

TEST(Shape, AScalarHasOneElement) {
  const Shape scalar;
  EXPECT_EQ(scalar.elements(), 1u);
  EXPECT_EQ(scalar.to_string(), "[]");
  EXPECT_EQ(Shape::create(std::vector<int64_t>{0, 7})->elements(), 0u);
}

TEST(Shape, RefusesProductsThatWrap) {
  const int64_t big = int64_t{1} << 32;
  EXPECT_THAT(Shape::create(std::vector<int64_t>{big, big}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(Shape::create(std::vector<int64_t>{0, big, big}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(Shape::create(std::vector<int64_t>{-1}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(Shape::create(std::vector<int64_t>(9, 1)), fails_with(ErrorCode::kUnsupported));
}

}  // namespace
}  // namespace lobit
