// MemoryPressureLevel: how near the end of its memory a program is. A plain value.
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

namespace lobit {

// Levels compare: kNone < kLow < kMedium < kHigh < kCritical.
enum class MemoryPressureLevel : uint8_t { kNone, kLow, kMedium, kHigh, kCritical };

constexpr std::string_view memory_pressure_level_name(MemoryPressureLevel level) {
  switch (level) {
    case MemoryPressureLevel::kNone:
      return "none";
    case MemoryPressureLevel::kLow:
      return "low";
    case MemoryPressureLevel::kMedium:
      return "medium";
    case MemoryPressureLevel::kHigh:
      return "high";
    case MemoryPressureLevel::kCritical:
      return "critical";
  }
  return "unknown";
}

}  // namespace lobit
