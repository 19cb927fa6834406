#pragma once
#include "lobit/kernels/planar.h"
#include "lobit/quant/quantize_method.h"
namespace lobit {
inline float planar_scale(Encoding encoding, QuantizeMethod, const float* values, size_t n) {
  return kernels::planar_scale_direct(encoding, values, n);
}
}  // namespace lobit
