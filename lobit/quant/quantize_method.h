// How the scales of a low-bit encoding are chosen. A plain value.
#pragma once
#include <cstdint>
namespace lobit {
enum class QuantizeMethod : uint8_t { kDirect, kScaled, kExact };
}  // namespace lobit
