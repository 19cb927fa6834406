// Sums over values, for error measures and statistics, with runtime SIMD dispatch. Every level gives the same
// sums: sixteen double partial sums, element i in sum i % 16, added up in a fixed tree at the end of each call;
// no fused multiply-add. Safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/base/export.h"

namespace lobit::kernels {

// Of pairs x (original) and y (decoded). Pairs of which one is NaN or Inf are left out of the sums.
struct LOBIT_API ErrorSums {
  uint64_t count = 0;               // pairs in the sums
  double error = 0;                 // sum (x - y)^2
  double signal = 0;                // sum x^2
  double decoded = 0;               // sum y^2
  double dot = 0;                   // sum x y
  float max_abs_error = 0;          // max |x - y|
  uint64_t max_error_index = 0;     // where it is first reached, over all calls
  uint64_t non_finite = 0;          // pairs left out
  uint64_t unequal_non_finite = 0;  // of these: the sides are not the same Inf, nor both NaN

  // Adds the sums of a run that starts at element `first` of the whole.
  void merge(const ErrorSums& run, uint64_t first);
};

// Adds original[n] against decoded[n], as elements sums.count + sums.non_finite on.
LOBIT_API void accumulate_error(const float* original, const float* decoded, size_t n, ErrorSums& sums);

// Of single values. NaN and Inf are counted and left out of the rest.
struct LOBIT_API ValueSums {
  uint64_t count = 0;  // finite values
  double sum = 0;
  double sum_squares = 0;
  float min = 0;  // of the finite values; 0 when there is none
  float max = 0;
  uint64_t zeros = 0;
  uint64_t nans = 0;
  uint64_t infinities = 0;

  void merge(const ValueSums& run);
};

LOBIT_API void accumulate_values(const float* values, size_t n, ValueSums& sums);

}  // namespace lobit::kernels
