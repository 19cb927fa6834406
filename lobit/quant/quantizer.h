// The encoders of floor quant: kernels from F32 that look for good scales. Pure functions; see
// lobit/kernels/codec.h for what they expect.
#pragma once

#include "lobit/base/export.h"
#include "lobit/dtype/encoding.h"
#include "lobit/kernels/codec.h"
#include "lobit/quant/quantize_method.h"

namespace lobit {

// F32 -> `to` for the SIMD level in use. Where the method has no choice to make (has_scale_search()) this is
// kernels::encoder(kF32, to); nullptr where that is.
LOBIT_API kernels::EncodeFn quantizer(Encoding to, QuantizeMethod method);

}  // namespace lobit
