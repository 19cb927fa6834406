#include "lobit/quant/distortion.h"

#include <cmath>

#include <gtest/gtest.h>

namespace lobit {
namespace {

TEST(Distortion, OfAHandComputedPair) {
  const float original[] = {3, 4, 0, 0};
  const float decoded[] = {3, 3, 0, 1};
  kernels::ErrorSums sums;
  kernels::accumulate_error(original, decoded, 4, sums);
  const Distortion d = distortion(sums);
  EXPECT_DOUBLE_EQ(d.nmse, 2.0 / 25.0);
  EXPECT_DOUBLE_EQ(d.sqnr_db, -10 * std::log10(0.08));
  EXPECT_DOUBLE_EQ(d.cosine, 21.0 / (5.0 * std::sqrt(19.0)));
  EXPECT_EQ(d.max_abs_error, 1.0);
}

TEST(Distortion, EqualTensorsHaveNone) {
  const float values[] = {1, -2, 3};
  kernels::ErrorSums sums;
  kernels::accumulate_error(values, values, 3, sums);
  const Distortion d = distortion(sums);
  EXPECT_EQ(d.nmse, 0);
  EXPECT_TRUE(std::isinf(d.sqnr_db));
  EXPECT_DOUBLE_EQ(d.cosine, 1);
}

TEST(Distortion, ZerosAgainstSomethingAreInfinitelyFar) {
  const float zeros[] = {0, 0};
  const float values[] = {1, 0};
  kernels::ErrorSums sums;
  kernels::accumulate_error(zeros, values, 2, sums);
  EXPECT_TRUE(std::isinf(distortion(sums).nmse));
  EXPECT_EQ(distortion(sums).cosine, 0);
}

}  // namespace
}  // namespace lobit
