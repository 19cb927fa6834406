#include "lobit/tensor/random_options.h"

#include <array>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "lobit/kernels/philox.h"

namespace lobit {
namespace {

// e^-y for 0 <= y < 16, from additions, multiplications and divisions alone, which are the same everywhere.
double exp_of_minus(double y) {
  const double part = y / 1024.0;
  double sum = 1.0;
  for (int term = 8; term >= 1; --term) sum = 1.0 + sum * part / term;
  for (int doubling = 0; doubling < 10; ++doubling) sum *= sum;
  return 1.0 / sum;
}

double normal_density(double x) {
  constexpr double kInverseRootOfTwoPi = 0.39894228040143267794;
  return kInverseRootOfTwoPi * exp_of_minus(x * x / 2.0);
}

// The probability of 0..x (Abramowitz and Stegun, 26.2.11).
double normal_mass(double x, double density) {
  double term = x;
  double sum = x;
  for (int odd = 3; term > sum * 1e-17; odd += 2) {
    term *= x * x / odd;
    sum += term;
  }
  return density * sum;
}

constexpr size_t kCells = 32768;  // of the positive half

// Entry i is the quantile at 1/2 + i / 65536, but the last one that at 1 - 2^-18, which ends the tail.
std::vector<float> positive_quantiles() {
  std::vector<float> table(kCells + 1);
  double x = 0.0;
  for (size_t i = 0; i <= kCells; ++i) {
    const double mass = i < kCells ? static_cast<double>(i) / (2.0 * kCells) : 0.5 - 0x1p-18;
    // Newton's method from the quantile before; the function is concave, so it comes from below.
    for (int step = 0; step < 8; ++step) {
      const double density = normal_density(x);
      const double missing = mass - normal_mass(x, density);
      x += missing / density;
      if (std::fabs(missing) < 1e-14) break;
    }
    table[i] = static_cast<float>(x);
  }
  return table;
}

// The distribution's value for 32 random bits: the upper half chooses a cell between two quantiles, the
// lower half the place in it.
float normal_value(uint32_t word) {
  static const std::vector<float> kQuantiles = positive_quantiles();
  const bool positive = (word >> 31) != 0;
  const size_t cell = positive ? (word >> 16) - kCells : kCells - 1 - (word >> 16);
  const uint32_t below = positive ? word & 0xFFFF : ~word & 0xFFFF;
  const float place = (static_cast<float>(below) + 0.5f) * 0x1p-16f;
  const float value = kQuantiles[cell] + place * (kQuantiles[cell + 1] - kQuantiles[cell]);
  return positive ? value : -value;
}

float uniform_value(uint32_t word, float low, float high) {
  const double place = static_cast<double>(word) * 0x1p-32;
  const auto value = static_cast<float>(low + place * (static_cast<double>(high) - low));
  return value < high ? value : low == high ? low : std::nextafterf(high, low);
}

}  // namespace

Status check_random_options(const RandomOptions& options) {
  if (options.distribution == Distribution::kUniform) {
    const bool valid =
        std::isfinite(options.low) && std::isfinite(options.high) && options.low <= options.high;
    if (valid) return {};
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("random: expected finite limits low <= high, found {} "
                            "and {}",
                            options.low, options.high));
  }
  const bool valid =
      std::isfinite(options.mean) && std::isfinite(options.deviation) && options.deviation >= 0;
  if (valid) return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("random: expected a finite mean and a deviation >= 0, found {} and {}",
                          options.mean, options.deviation));
}

void fill_random(const RandomOptions& options, uint64_t first, float* out, size_t count) {
  const kernels::PhiloxKey key{static_cast<uint32_t>(options.seed),
                               static_cast<uint32_t>(options.seed >> 32)};
  kernels::PhiloxBlock words{};
  for (size_t i = 0; i < count; ++i) {
    const uint64_t index = first + i;
    if (i == 0 || index % 4 == 0) {
      words = kernels::philox4x32(
          {static_cast<uint32_t>(index / 4), static_cast<uint32_t>(index / 4 >> 32), 0, 0}, key);
    }
    const uint32_t word = words[index % 4];
    if (options.distribution == Distribution::kUniform) {
      out[i] = uniform_value(word, options.low, options.high);
    } else {
      out[i] = options.mean + options.deviation * normal_value(word);
    }
  }
}

}  // namespace lobit
