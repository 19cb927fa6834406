// The scale d and the integer codes q that bring the sum of (x - d q)^2 over a group to its least: for a
// fixed assignment of codes least squares gives d = sum x q / sum q^2, and as 1 / d grows each code steps at
// known points, so one sweep over those points sees every assignment that can be best. Pure functions on
// memory of the caller, safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "lobit/base/export.h"
#include "lobit/dtype/block_codes.h"

namespace lobit {

// The inverse scales whose assignments are compared, both positive or zero.
struct InverseWindow {
  double low = 0;
  double high = 0;
};

// All inverse scales that can be best for the values, given that some scale of either sign reaches the
// squared error `known`: with a smaller scale, one value alone would be farther than that beyond the last
// code.
LOBIT_API InverseWindow inverses_below(double known, std::span<const float> values, CodeRange codes);

// Steps that exact_scale() sorts at most for so many values: the workspace that it needs.
constexpr size_t most_steps(size_t values, CodeRange codes) {
  return values * static_cast<size_t>(codes.high > -codes.low ? codes.high : -codes.low);
}

// The best scale with an inverse in the window, with its sign; 0 for zeros. All values are finite, and at
// most 2^24. Ties go to the smaller inverse, and to the positive scale.
LOBIT_API double exact_scale(std::span<const float> values, CodeRange codes, InverseWindow window,
                             std::span<uint64_t> workspace);

// The same for the codes -1, 0, 1: the mean of the largest magnitudes, as many of them as is best. The
// workspace holds a number for each value.
LOBIT_API double exact_ternary_scale(std::span<const float> values, std::span<uint32_t> workspace);

}  // namespace lobit
