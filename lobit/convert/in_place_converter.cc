#include "lobit/convert/in_place_converter.h"

#include "lobit/base/fp_env.h"
#include "lobit/convert/conversion_context_internal.h"

namespace lobit {

Status InPlaceConverter::convert_in_place(Tensor& tensor, FormatChoice to, ConversionQuality quality) const {
  const ScopedFpEnv fp_env;
  const ValueFormat format = to.for_shape(tensor.shape());
  if (tensor.resource() == nullptr || detail::is_converted(tensor, to, format)) return {};
  LOBIT_RETURN_IF_ERROR(check_convertible(tensor, format, tensor.resource()->device()));
  const InPlaceChecks checks = rule_ == Rule::kExact   ? InPlaceChecks::kExact
                               : rule_ == Rule::kLossy ? InPlaceChecks::kFits
                                                       : InPlaceChecks::kNone;
  MemoryAccount account(UINT64_MAX);
  LOBIT_TRY(const TensorJobFacts facts, lobit::convert_in_place(tensor,
                                                         {.to = format,
                                                          .method = quantize_method(quality),
                                                          .memory = tensor.resource(),
                                                          .account = &account},
                                                         checks, {}, {}));
  static_cast<void>(facts);
  return {};
}

}  // namespace lobit
