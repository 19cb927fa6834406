// Where the method "scaled" looks for the scale of a group: what the scalar reference and the SIMD kernels
// share. reference_scaled.cc shows the algorithm, reference_scaled_affine.cc that of Q4_1 and Q5_1. Not
// installed.
#pragma once

#include <array>
#include <cstddef>

#include "lobit/dtype/encoding.h"

namespace lobit::reference {

// What the tried inverse scales are multiples of.
enum class SearchUnit {
  kSignedPeak,  // 1 / the value of largest magnitude: the multiple is the code of that value
  kPeak,        // 1 / the largest magnitude
  kRms,         // 1 / the root of the mean square, which one outlier moves less
};

template <size_t kTries>
struct ScaleSearch {
  float low;  // codes
  float high;
  float divisor;  // the direct scale is the peak over this, or the largest magnitude where it is positive
  SearchUnit unit;
  std::array<float, kTries> multiples;

  constexpr bool is_ternary() const { return low == -1.0f && high == 1.0f; }
};

template <Encoding kTo>
inline constexpr int kScaleSearch = 0;  // no search

// With a whole code for the peak that value, which matters most, has almost no error. Fewer than 116 steps
// lose more on the other values than the choice of another grid gains.
template <>
inline constexpr ScaleSearch<12> kScaleSearch<Encoding::kQ8_0>{
    -127, 127, 127, SearchUnit::kPeak, {127, 126, 125, 124, 123, 122, 121, 120, 119, 118, 117, 116}};

// Negative multiples give the peak the sign of the lowest code, which reaches one step farther.
template <>
inline constexpr ScaleSearch<12> kScaleSearch<Encoding::kQ4_0>{
    -8,
    7,
    -8,
    SearchUnit::kSignedPeak,
    {-8.0f, -6.6f, -7.0f, -7.3f, -7.6f, -8.4f, -8.8f, -9.4f, 7.0f, 7.5f, 8.0f, 8.6f}};
template <>
inline constexpr ScaleSearch<12> kScaleSearch<Encoding::kQ5_0>{
    -16,
    15,
    -16,
    SearchUnit::kSignedPeak,
    {-16.0f, -13.0f, -13.6f, -14.2f, -14.8f, -15.4f, -16.5f, -17.0f, 14.0f, 15.0f, 16.0f, 17.0f}};

// Three steps to one side, one to the other.
template <>
inline constexpr ScaleSearch<12> kScaleSearch<Encoding::kQ2_0>{
    -1,
    2,
    1,
    SearchUnit::kRms,
    {0.5f, 0.64f, 0.78f, 0.92f, 1.06f, 1.2f, -0.5f, -0.64f, -0.78f, -0.92f, -1.06f, -1.2f}};

template <>
inline constexpr ScaleSearch<4> kScaleSearch<Encoding::kTQ2_0>{
    -1, 1, 1, SearchUnit::kRms, {0.4f, 0.6f, 0.8f, 1.0f}};
template <>
inline constexpr ScaleSearch<4> kScaleSearch<Encoding::kTQ1_0> = kScaleSearch<Encoding::kTQ2_0>;

// The codes, before rounding, that a tried grid gives to the smallest and the largest value of a group: where
// those lie a little beyond the codes, the two are cut, and all others have finer steps.
struct RangeTry {
  float low;
  float high;
};

// Encodings with a minimum beside the scale: codes from 0 to `top`.
struct RangeSearch {
  float top;
  std::array<RangeTry, 8> tries;
};

// Chosen one after the other, each as the one that lowers the error of normal and heavy-tailed weights most.
template <Encoding kTo>
inline constexpr int kRangeSearch = 0;  // no search
template <>
inline constexpr RangeSearch kRangeSearch<Encoding::kQ4_1>{15,
                                                           {{{-0.25f, 15.25f},
                                                             {-0.5f, 14.75f},
                                                             {0.25f, 15.25f},
                                                             {0.0f, 14.0f},
                                                             {-0.25f, 15.0f},
                                                             {0.0f, 15.5f},
                                                             {0.0f, 14.25f},
                                                             {0.75f, 14.25f}}}};
template <>
inline constexpr RangeSearch kRangeSearch<Encoding::kQ5_1>{31,
                                                           {{{-0.25f, 30.25f},
                                                             {0.0f, 31.0f},
                                                             {0.25f, 31.25f},
                                                             {-0.25f, 30.75f},
                                                             {1.0f, 30.0f},
                                                             {0.25f, 30.0f},
                                                             {1.0f, 29.0f},
                                                             {0.0f, 29.75f}}}};

// A found scale replaces the direct one when its error, summed in F32, is below this part of the direct
// one's. The sums of 256 squares are off by less than 2^-16 of themselves, so the true error never grows.
inline constexpr float kClearlyLess = 1.0f - 0x1p-15f;

// 1.5 * 2^23: adding and subtracting it rounds magnitudes below 2^22 to the nearest integer, ties to even.
inline constexpr float kRounder = 12582912.0f;

}  // namespace lobit::reference
