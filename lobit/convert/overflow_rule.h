// OverflowRule: what a conversion does with a value that its target cannot hold. A plain value.
#pragma once

#include <cstdint>

namespace lobit {

enum class OverflowRule : uint8_t {
  kRefuse,    // kDataLoss, naming the tensor and the element
  kSaturate,  // the nearest value that it can hold; NaN becomes 0 in block encodings (see saturate.h)
};

}  // namespace lobit
