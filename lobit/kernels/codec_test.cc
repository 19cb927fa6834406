#include "lobit/kernels/codec.h"

#include <gtest/gtest.h>

#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

TEST(SimdLevel, ChangesTheKernels) {
  ASSERT_EQ(simd_levels().front(), SimdLevel::kScalar);
}

}  // namespace
}  // namespace lobit::kernels
