// Doublings: the bins of histograms of sizes and times, which end with powers of two. Pure functions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace lobit::detail {

inline constexpr size_t kDoublings = 65;

// 0 for 0 and 1, n for values above 2^(n-1) and up to 2^n.
constexpr size_t doubling_of(uint64_t value) {
  return value == 0 ? 0 : static_cast<size_t>(std::bit_width(value - 1));
}

}  // namespace lobit::detail
