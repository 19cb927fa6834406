#include "lobit/kernels/planar_fit.h"

#include "lobit/kernels/cpu/planar_functions.h"
#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

const PlanarFitFunctions& functions() {
  static constexpr PlanarFitFunctions kReference{reference::fit_planar, reference::planar_error};
  const bool vectors = simd_level() != SimdLevel::kScalar;
  const PlanarFitFunctions* const found = vectors ? planar_fit_functions() : nullptr;
  return found != nullptr ? *found : kReference;
}

}  // namespace

PlanarFit fit_planar(CodeRange range, const float* values, size_t count, float inverse) {
  return functions().fit(range, values, count, inverse);
}

double planar_error(CodeRange range, const float* values, size_t count, float scale) {
  return functions().error(range, values, count, scale);
}

}  // namespace lobit::kernels
