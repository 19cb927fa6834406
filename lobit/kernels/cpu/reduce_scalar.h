// The scalar reductions, and what they share with the vectors' ones in reduce.cc. Not installed.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "lobit/kernels/reduce.h"

namespace lobit::kernels {

inline constexpr size_t kTerms = 4;
inline constexpr size_t kExtremes = 3;

// Every kernel for one target, by term or extreme.
struct ReduceKernels {
  std::array<void (*)(const float*, size_t, double, double*), kTerms> add_run;
  std::array<void (*)(const float*, size_t, size_t, size_t, double*), kTerms> add_rows;
  std::array<void (*)(const float*, size_t, size_t, double*), kTerms> sums_of_runs;
  void (*add_moments)(const float*, size_t, size_t, size_t, const float*, double*, double*);
  std::array<float (*)(const float*, size_t, float), kExtremes> extreme_of;
  std::array<void (*)(const float*, size_t, size_t, float*), kExtremes> extremes_of_runs;
  std::array<void (*)(const float*, size_t, size_t, size_t, float*), kExtremes> extreme_of_rows;
  size_t (*find_value)(const float*, size_t, float);
  std::array<void (*)(const float*, size_t, size_t, size_t, int32_t, float*, int32_t*), kExtremes>
      place_of_rows;
};

template <SumTerm kTerm>
double term_of(float value, double center) {
  const double x = value;
  if constexpr (kTerm == SumTerm::kValue) return x;
  if constexpr (kTerm == SumTerm::kMagnitude) return std::fabs(x);
  if constexpr (kTerm == SumTerm::kSquare) return x * x;
  return (x - center) * (x - center);
}

// Adds lanes in pairs.
template <size_t kCount>
double total_of(double* lanes) {
  for (size_t half = kCount / 2; half > 0; half /= 2) {
    for (size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
}

// Whether `a` comes before `b`, for numbers.
template <Extreme kWhich>
bool beats(float a, float b) {
  return kWhich == Extreme::kMin ? a < b : a > b;
}

template <Extreme kWhich>
float more_extreme(float value, float best) {
  const float x = kWhich == Extreme::kMaxMagnitude ? std::fabs(value) : value;
  return beats<kWhich>(x, best) || std::isnan(x) ? x : best;
}

namespace scalar {

template <SumTerm kTerm>
void add_run(const float* values, size_t count, double center, double* lanes) {
  for (size_t i = 0; i < count; ++i) lanes[i % kSumLanes] += term_of<kTerm>(values[i], center);
}

template <SumTerm kTerm>
void sums_of_runs(const float* values, size_t runs, size_t count, double* sums) {
  for (size_t run = 0; run < runs; ++run, values += count) {
    double lanes[kSumLanes] = {};
    add_run<kTerm>(values, count, 0.0, lanes);
    sums[run] = total_of<kSumLanes>(lanes);
  }
}

template <SumTerm kTerm>
void add_rows(const float* values, size_t rows, size_t stride, size_t columns, double* sums) {
  for (size_t r = 0; r < rows; ++r, values += stride) {
    for (size_t c = 0; c < columns; ++c) sums[c] += term_of<kTerm>(values[c], 0.0);
  }
}

inline void add_moments(const float* values, size_t rows, size_t stride, size_t columns, const float* shift,
                        double* first, double* second) {
  for (size_t r = 0; r < rows; ++r, values += stride) {
    for (size_t c = 0; c < columns; ++c) {
      const double d = static_cast<double>(values[c]) - static_cast<double>(shift[c]);
      first[c] += d;
      second[c] += d * d;
    }
  }
}

template <Extreme kWhich>
float extreme_of(const float* values, size_t count, float so_far) {
  for (size_t i = 0; i < count && !std::isnan(so_far); ++i) so_far = more_extreme<kWhich>(values[i], so_far);
  return so_far;
}

template <Extreme kWhich>
void extremes_of_runs(const float* values, size_t runs, size_t count, float* extremes) {
  for (size_t run = 0; run < runs; ++run, values += count) {
    extremes[run] = extreme_of<kWhich>(values, count, before_extreme(kWhich));
  }
}

template <Extreme kWhich>
void extreme_of_rows(const float* values, size_t rows, size_t stride, size_t columns, float* extremes) {
  for (size_t r = 0; r < rows; ++r, values += stride) {
    for (size_t c = 0; c < columns; ++c) extremes[c] = more_extreme<kWhich>(values[c], extremes[c]);
  }
}

inline size_t find_value(const float* values, size_t count, float value) {
  const bool nan = std::isnan(value);
  const float* const found =
      std::find_if(values, values + count, [&](float v) { return nan ? std::isnan(v) : v == value; });
  return static_cast<size_t>(found - values);
}

template <Extreme kWhich>
void place_of_rows(const float* values, size_t rows, size_t stride, size_t columns, int32_t first,
                   float* best, int32_t* places) {
  for (size_t r = 0; r < rows; ++r, values += stride) {
    for (size_t c = 0; c < columns; ++c) {
      if (std::isnan(best[c])) continue;
      if (!beats<kWhich>(values[c], best[c]) && !std::isnan(values[c])) continue;
      best[c] = values[c];
      places[c] = first + static_cast<int32_t>(r);
    }
  }
}

inline constexpr ReduceKernels kKernels{
    {add_run<SumTerm::kValue>, add_run<SumTerm::kMagnitude>, add_run<SumTerm::kSquare>,
     add_run<SumTerm::kSquaredDeviation>},
    {add_rows<SumTerm::kValue>, add_rows<SumTerm::kMagnitude>, add_rows<SumTerm::kSquare>, nullptr},
    {sums_of_runs<SumTerm::kValue>, sums_of_runs<SumTerm::kMagnitude>, sums_of_runs<SumTerm::kSquare>,
     nullptr},
    add_moments,
    {extreme_of<Extreme::kMin>, extreme_of<Extreme::kMax>, extreme_of<Extreme::kMaxMagnitude>},
    {extremes_of_runs<Extreme::kMin>, extremes_of_runs<Extreme::kMax>,
     extremes_of_runs<Extreme::kMaxMagnitude>},
    {extreme_of_rows<Extreme::kMin>, extreme_of_rows<Extreme::kMax>, extreme_of_rows<Extreme::kMaxMagnitude>},
    find_value,
    {place_of_rows<Extreme::kMin>, place_of_rows<Extreme::kMax>, nullptr}};

}  // namespace scalar

}  // namespace lobit::kernels
