#include "lobit/convert/weight_table.h"

#include <cmath>

#include "lobit/dtype/half.h"

namespace lobit {
namespace {

constexpr size_t kEntries = 65536;
constexpr double kDeviation = 0.02;

// The distribution function of Student's t with 4 degrees of freedom, in closed form (Abramowitz and Stegun,
// 26.7.4).
double t4_cdf(double t) {
  const double u = 1.0 + t * t / 4.0;
  return 0.5 + 0.375 * (t / std::sqrt(u)) * (1.0 - t * t / (12.0 * u));
}

// The t >= 0 with t4_cdf(t) = p, by bisection.
double t4_quantile(double p, double low) {
  double high = 64.0;  // beyond the last quantile, 1 - 1/131072
  for (int step = 0; step < 48; ++step) {
    const double middle = (low + high) / 2.0;
    (t4_cdf(middle) < p ? low : high) = middle;
  }
  return low;
}

}  // namespace

std::vector<uint16_t> weight_table(Encoding encoding) {
  std::vector<uint16_t> table(kEntries);
  const double scale = kDeviation / std::sqrt(2.0);  // the variance of t with 4 degrees of freedom is 2
  double quantile = 0;
  for (size_t i = kEntries / 2; i < kEntries; ++i) {
    quantile = t4_quantile((static_cast<double>(i) + 0.5) / static_cast<double>(kEntries), quantile);
    const auto value = static_cast<float>(quantile * scale);
    const uint16_t bits = encoding == Encoding::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
    table[i] = bits;
    table[kEntries - 1 - i] = static_cast<uint16_t>(bits | 0x8000u);
  }
  return table;
}

}  // namespace lobit
