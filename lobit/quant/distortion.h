// How far a stored tensor is from the original, in the measures that the field uses.
#pragma once

#include "lobit/base/export.h"
#include "lobit/kernels/measure.h"

namespace lobit {

// Measures over finite element pairs x (original) and y (decoded). All 0, SQNR infinite, for equal tensors.
struct Distortion {
  double nmse = 0;           // sum (x - y)^2 / sum x^2; infinite when only the original is all zeros
  double sqnr_db = 0;        // -10 log10(nmse): signal to quantization noise
  double cosine = 1;         // sum x y / sqrt(sum x^2 sum y^2); 0 when one of them is all zeros
  double max_abs_error = 0;  // max |x - y|
};

LOBIT_API Distortion distortion(const kernels::ErrorSums& sums);

}  // namespace lobit
