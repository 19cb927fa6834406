#include "lobit/tensor/format_choice.h"

namespace lobit {

ValueFormat default_format(DType dtype, const Shape& shape) {
  constexpr uint64_t kLeastForRowScales = 64;
  const Encoding encoding = default_encoding(dtype);
  const uint64_t columns = shape.row_elements();
  const bool divides = columns > 0 && columns % traits(encoding).block_elements == 0;
  if (divides || planar_bits(encoding) == 0) return {encoding};
  return {encoding, columns >= kLeastForRowScales ? ScaleGroup::kRow : ScaleGroup::kTensor};
}

}  // namespace lobit
