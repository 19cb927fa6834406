// LatencyHistogram: how long calls took, in constant memory. Counts nanoseconds in 8 buckets for each
// doubling, so a quantile is told at most 1/8 too high; the mean is exact. Not thread-safe.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace lobit::detail {

// A number for each range of values: 8 ranges for each doubling, one for each value under 8. Ranges of larger
// values have larger numbers.
inline constexpr size_t kEighths = 62 * 8;
constexpr size_t eighth_of(uint64_t value) {
  if (value < 8) return static_cast<size_t>(value);
  const auto shift = static_cast<unsigned>(std::bit_width(value)) - 4;
  return (size_t{shift} << 3) + static_cast<size_t>(value >> shift);
}
// The largest value of such a range.
constexpr uint64_t last_of_eighth(size_t eighth) {
  if (eighth < 16) return eighth;
  const size_t shift = (eighth >> 3) - 1;
  return ((uint64_t{8 + (eighth & 7)} + 1) << shift) - 1;
}

class LatencyHistogram {
 public:
  // `weight`: how many calls this one stands for.
  void add(uint64_t ns, uint64_t weight) {
    counts_[eighth_of(ns)] += weight;
    weight_ += weight;
    sum_ += static_cast<double>(ns) * static_cast<double>(weight);
    max_ = std::max(max_, ns);
  }

  double mean() const { return weight_ == 0 ? 0.0 : sum_ / static_cast<double>(weight_); }

  // A time that at least `percent` of the calls did not exceed; 0 without calls.
  uint64_t percentile(unsigned percent) const {
    const uint64_t rank = (weight_ / 100) * percent + ((weight_ % 100) * percent + 99) / 100;
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size() && weight_ > 0; ++i) {
      seen += counts_[i];
      if (seen >= rank) return std::min(last_of_eighth(i), max_);
    }
    return max_;
  }

 private:
  std::array<uint64_t, kEighths> counts_{};
  uint64_t weight_ = 0;
  double sum_ = 0;
  uint64_t max_ = 0;
};

}  // namespace lobit::detail
