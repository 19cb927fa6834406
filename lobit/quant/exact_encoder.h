// Encoders of QuantizeMethod::kExact: quantizer() in quantizer.h offers them. Not installed.
#pragma once

#include "lobit/kernels/codec.h"

namespace lobit {

// F32 -> `to`, which has_scale_search(). A group keeps the block of kernels::scaled_encoder() unless the
// exact scale, or one of its two neighbours in F16, has a smaller squared error; for Q4_1 and Q5_1 see
// exact_affine.h.
kernels::EncodeFn exact_encoder(Encoding to);

}  // namespace lobit
