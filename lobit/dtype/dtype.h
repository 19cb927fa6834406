// DType: what values a tensor holds, as the user thinks of them. How they are stored is Encoding's matter.
// Plain values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "lobit/base/export.h"

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

inline constexpr std::array<DType, 8> kAllDTypes{DType::kF32, DType::kF16, DType::kBF16, DType::kI8,
                                                 DType::kI4,  DType::kI2,  DType::kI1,   DType::kBitNet158};

// "f32", "i8", "bitnet158".
LOBIT_API std::string_view dtype_name(DType dtype);

// The inverse of dtype_name() in any case; nothing when the name is no dtype's.
LOBIT_API std::optional<DType> parse_dtype(std::string_view name);

}  // namespace lobit
