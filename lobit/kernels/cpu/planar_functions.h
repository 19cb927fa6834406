// The planar kernels of the Highway target in use, as planar.cc asks for them. Not installed.
#pragma once

#include <cstddef>

#include "lobit/dtype/encoding.h"
#include "lobit/dtype/reference_planar.h"
#include "lobit/dtype/reference_planar_fit.h"

namespace lobit::kernels {

// The functions of kernels/planar.h for one encoding.
struct PlanarFunctions {
  void (*measure)(const float* values, size_t count, PlanarExtent& extent);
  EncodeCounts (*encode)(const float* values, std::byte* codes, size_t count, float scale);
  void (*decode)(const std::byte* codes, float* values, size_t count, float scale);
  EncodeCounts (*encode_groups)(const float* values, std::byte* codes, float* scales, size_t count,
                                size_t group);
  void (*decode_groups)(const std::byte* codes, const float* scales, float* values, size_t count,
                        size_t group);
};

// nullptr when the target has no vectors.
const PlanarFunctions* planar_functions(Encoding encoding);

// The functions of kernels/planar_fit.h.
struct PlanarFitFunctions {
  PlanarFit (*fit)(CodeRange range, const float* values, size_t count, float inverse);
  double (*error)(CodeRange range, const float* values, size_t count, float scale);
};

// nullptr when the target has no vectors.
const PlanarFitFunctions* planar_fit_functions();

}  // namespace lobit::kernels
