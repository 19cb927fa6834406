// Sums, extremes and their places over F32 values, with runtime SIMD dispatch. Every SIMD level gives the
// same bits: nothing is fused, and the order of additions is fixed.
//
// A run (values that become one) is summed in F64 in sixteen lanes: value i of everything that was added so
// far goes to lane i mod 16, and total() adds the lanes in pairs: l with l + 8, then + 4, + 2, + 1. So a run
// may be cut into calls at any multiple of 16. A row (values that are added to as many sums) is added to them
// one row after the other. Each of n additions is rounded to F64, so a sum is wrong by at most n * 2^-53 *
// the sum of the magnitudes; squares of F32 and differences of their magnitudes are exact in F64.
//
// In extremes NaN wins, as in NumPy; a zero that wins may have either sign, and which of several NaNs wins is
// open, until settled() makes them one.
//
// Kernels know pointers and counts only; they do not allocate, do not fail and may run on any number of
// threads. Values need only the alignment of float. The default floating-point environment is expected
// (ScopedFpEnv).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "lobit/base/export.h"

namespace lobit::kernels {

// What is added up.
enum class SumTerm : uint8_t {
  kValue,
  kMagnitude,
  kSquare,
  kSquaredDeviation,  // the square of value - center
};

inline constexpr size_t kSumLanes = 16;
using SumLanes = std::array<double, kSumLanes>;

LOBIT_API double total(const SumLanes& lanes);

// Adds the next `count` values of a run; only the run's last call may have a count that is no multiple of 16.
// `center` is for kSquaredDeviation.
LOBIT_API void add_run(SumTerm term, const float* values, size_t count, double center, SumLanes& lanes);

// The totals of `runs` runs of `count` values, one behind the other. Not for kSquaredDeviation, nor are rows.
LOBIT_API void sums_of_runs(SumTerm term, const float* values, size_t runs, size_t count, double* sums);

// sums[c] += the term of each of `rows` rows of `columns` values, `stride` values apart.
LOBIT_API void add_rows(SumTerm term, const float* values, size_t rows, size_t stride, size_t columns,
                        double* sums);

// The first two moments of `rows` rows about a row `shift` of values close to them: with d = value - shift in
// F64, first[c] += d and second[c] += d * d.
LOBIT_API void add_moments(const float* values, size_t rows, size_t stride, size_t columns,
                           const float* shift, double* first, double* second);

enum class Extreme : uint8_t {
  kMin,
  kMax,
  kMaxMagnitude,
};

// What an extreme of no values starts from.
inline float before_extreme(Extreme which) {
  if (which == Extreme::kMaxMagnitude) return 0.0f;
  const float inf = std::numeric_limits<float>::infinity();
  return which == Extreme::kMin ? inf : -inf;
}

// The extreme of `so_far` and `count` values.
LOBIT_API float extreme_of(Extreme which, const float* values, size_t count, float so_far);

// The extremes of `runs` runs of `count` values, one behind the other.
LOBIT_API void extremes_of_runs(Extreme which, const float* values, size_t runs, size_t count,
                                float* extremes);

// extremes[c] becomes the extreme of itself and of `rows` rows.
LOBIT_API void extreme_of_rows(Extreme which, const float* values, size_t rows, size_t stride, size_t columns,
                               float* extremes);

// One zero and one NaN.
inline float settled(float extreme) {
  return extreme == extreme ? extreme + 0.0f : std::numeric_limits<float>::quiet_NaN();
}

// The first of `count` values that equals `value`, or the first NaN when `value` is one; `count` if none.
LOBIT_API size_t find_value(const float* values, size_t count, float value);

// Takes rows that are numbered from `first` on: where a value is more extreme than best[c], or the first NaN,
// it becomes best[c], and places[c] the number of its row. kMin or kMax.
LOBIT_API void place_of_rows(Extreme which, const float* values, size_t rows, size_t stride, size_t columns,
                             int32_t first, float* best, int32_t* places);

}  // namespace lobit::kernels
