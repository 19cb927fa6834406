#include "lobit/convert/zero_copy_converter.h"

#include <fmt/format.h>

#include "lobit/convert/conversion_context_internal.h"

namespace lobit {

bool ZeroCopyConverter::can_reinterpret(const Tensor& tensor, FormatChoice to) const {
  return reinterpret(tensor, to).has_value();
}

Result<Tensor> ZeroCopyConverter::reinterpret(const Tensor& tensor, FormatChoice to) const {
  const ValueFormat format = to.for_shape(tensor.shape());
  if (detail::is_converted(tensor, to, format)) return tensor;
  if (rule_ == Rule::kSameWidth) {
    if (Result<Tensor> view = tensor.bit_view(format)) return view;
  }
  return fail(ErrorCode::kUnsupported,
              fmt::format("zero copy: {} cannot be shown as {} without touching a byte", to_string(tensor.format()),
                          to_string(format)),
              {.from = to_string(tensor.format()), .to = to_string(format)});
}

}  // namespace lobit
