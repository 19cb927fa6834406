// DType: what values a tensor holds, as the user thinks of them. How they are stored is Encoding's matter.
#pragma once

#include <cstdint>
#include <string_view>

namespace lobit {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kI8,
  kI4,
  kI2,
  kI1,
  kBitNet158,  // -1, 0, +1
};

}  // namespace lobit
