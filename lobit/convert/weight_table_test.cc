#include "lobit/convert/weight_table.h"

#include <cmath>

#include <gtest/gtest.h>

#include "lobit/dtype/half.h"

namespace lobit {
namespace {

constexpr size_t kEntries = 65536;

double value_at(Encoding encoding, const std::vector<uint16_t>& table, size_t i) {
  return static_cast<double>(encoding == Encoding::kBF16 ? bf16_to_f32(table[i]) : f16_to_f32(table[i]));
}

TEST(WeightTable, IsSymmetricAndRises) {
  for (const Encoding encoding : {Encoding::kF16, Encoding::kBF16}) {
    const std::vector<uint16_t> table = weight_table(encoding);
    ASSERT_EQ(table.size(), kEntries);
    for (size_t i = 1; i < kEntries; ++i) {
      EXPECT_EQ(value_at(encoding, table, i), -value_at(encoding, table, kEntries - 1 - i));
      EXPECT_GE(value_at(encoding, table, i), value_at(encoding, table, i - 1));
    }
  }
}

TEST(WeightTable, HasTheDeviationAndTheTailsItPromises) {
  for (const Encoding encoding : {Encoding::kF16, Encoding::kBF16}) {
    const std::vector<uint16_t> table = weight_table(encoding);
    double sum = 0;
    double squares = 0;
    for (size_t i = 0; i < kEntries; ++i) {
      const double v = value_at(encoding, table, i);
      sum += v;
      squares += v * v;
    }
    EXPECT_EQ(sum, 0.0);
    EXPECT_NEAR(std::sqrt(squares / kEntries), 0.02, 0.0002);
    const double largest = value_at(encoding, table, kEntries - 1) / 0.02;
    EXPECT_GT(largest, 16.0);
    EXPECT_LT(largest, 18.0);
  }
}

// Quantiles of Student's t with 4 degrees of freedom, from printed tables.
TEST(WeightTable, HoldsTheQuantilesOfStudentsT) {
  const std::vector<uint16_t> table = weight_table(Encoding::kF16);
  const double scale = 0.02 / std::sqrt(2.0);
  for (const auto& [p, t] :
       {std::pair{0.75, 0.741}, {0.90, 1.533}, {0.95, 2.132}, {0.975, 2.776}, {0.999, 7.173}}) {
    const auto i = static_cast<size_t>(p * kEntries);
    EXPECT_NEAR(value_at(Encoding::kF16, table, i) / scale, t, 0.005 * t) << p;
  }
}

}  // namespace
}  // namespace lobit
