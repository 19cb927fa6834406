// What lobit says about values: the error that an encoding made, and the statistics of a tensor. One pass at
// memory speed, with the same result at every SIMD level: sums are kept in eight doubles, element i of a call
// in number i mod 8, which are added in a fixed order at its end. Splitting the same values into other calls
// may change the last bits of the sums, so callers who promise equal reports use equal pieces.
//
// Pure functions apart from their last argument, safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "lobit/base/export.h"

namespace lobit::kernels {

// Elements where the original or the decoded value is NaN or Inf are counted in `non_finite` and otherwise
// left out.
struct ErrorSums {
  uint64_t count = 0;       // elements in the sums
  uint64_t non_finite = 0;  // elements left out
  double signal = 0.0;      // of original^2
  double decoded = 0.0;     // of decoded^2
  double dot = 0.0;         // of original * decoded
  double error = 0.0;       // of (original - decoded)^2
  double max_abs_error = 0.0;
  uint64_t max_error_index = 0;  // of the first element with that error, counted from the first call

  uint64_t elements() const { return count + non_finite; }

  // Appends the sums of the elements that follow.
  LOBIT_API ErrorSums& operator+=(const ErrorSums& next);
};

// Adds the elements original[n], decoded[n] to `sums`.
LOBIT_API void accumulate_error(const float* original, const float* decoded, size_t n, ErrorSums& sums);

// NaN and Inf are counted and otherwise left out.
struct ValueStats {
  uint64_t count = 0;  // all elements
  uint64_t zeros = 0;  // of either sign
  uint64_t nans = 0;
  uint64_t infs = 0;
  double sum = 0.0;
  double abs_sum = 0.0;
  double sum_squares = 0.0;
  float min = std::numeric_limits<float>::infinity();  // +Inf, -Inf where no element is finite; a zero is +0
  float max = -std::numeric_limits<float>::infinity();

  uint64_t finite() const { return count - nans - infs; }

  LOBIT_API ValueStats& operator+=(const ValueStats& next);
};

// Adds the elements values[n] to `stats`.
LOBIT_API void accumulate_stats(const float* values, size_t n, ValueStats& stats);

}  // namespace lobit::kernels
