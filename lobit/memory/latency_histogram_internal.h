// LatencyHistogram: how long calls took, in constant memory. Counts nanoseconds in eighths, so a quantile is
// told at most 1/8 too high; the mean is exact. Not thread-safe.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "lobit/memory/eighths_internal.h"

namespace lobit::detail {

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
