#include "lobit/quant/quantizer.h"

#include "lobit/quant/exact_encoder.h"

namespace lobit {

kernels::EncodeFn quantizer(Encoding to, QuantizeMethod method) {
  if (method == QuantizeMethod::kDirect || !has_scale_search(to)) return kernels::encoder(Encoding::kF32, to);
  return method == QuantizeMethod::kScaled ? kernels::scaled_encoder(to) : exact_encoder(to);
}

}  // namespace lobit
