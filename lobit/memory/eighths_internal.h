// Eighths: ranges of values whose ends differ by at most an eighth, each with a number. 8 ranges for each
// doubling, one for each value under 8; ranges of larger values have larger numbers. What the histogram of
// times counts in, and the lists of kept blocks are cut by. Pure functions.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace lobit::detail {

inline constexpr size_t kEighths = 62 * 8;

constexpr size_t eighth_of(uint64_t value) {
  if (value < 8) return static_cast<size_t>(value);
  const auto shift = static_cast<unsigned>(std::bit_width(value)) - 4;
  return (size_t{shift} << 3) + static_cast<size_t>(value >> shift);
}

// The largest value of a range.
constexpr uint64_t last_of_eighth(size_t eighth) {
  if (eighth < 16) return eighth;
  const size_t shift = (eighth >> 3) - 1;
  return ((uint64_t{8 + (eighth & 7)} + 1) << shift) - 1;
}

}  // namespace lobit::detail
