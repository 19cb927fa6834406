#include <gtest/gtest.h>

#include "lobit/memory/eighths_internal.h"

namespace lobit::detail {
namespace {

TEST(Eighths, FollowEachOtherWithoutGaps) {
  uint64_t first = 0;
  for (size_t i = 0; i < kEighths; ++i) {
    ASSERT_EQ(eighth_of(first), i);
    ASSERT_EQ(eighth_of(last_of_eighth(i)), i);
    first = last_of_eighth(i) + 1;
  }
  EXPECT_EQ(first, 0u);  // the last range ends with the largest number
}

}  // namespace
}  // namespace lobit::detail
