// The functions of lobit/dtype/reference_planar_fit.h, with runtime SIMD dispatch: the same results, bit for
// bit. Nothing here allocates or fails, pointers may have any address, and any number of threads may call.
// The default floating-point environment is expected (ScopedFpEnv).
#pragma once

#include <cstddef>

#include "lobit/base/export.h"
#include "lobit/dtype/reference_planar_fit.h"

namespace lobit::kernels {

LOBIT_API PlanarFit fit_planar(CodeRange range, const float* values, size_t count, float inverse);
LOBIT_API double planar_error(CodeRange range, const float* values, size_t count, float scale);

}  // namespace lobit::kernels
