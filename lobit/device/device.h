// Device: where memory lies and work runs. A plain value.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/base/result.h"

namespace lobit {

enum class DeviceKind : uint8_t {
  kCpu,
  kCuda,  // an NVIDIA GPU
  kMlx,   // Apple silicon, reached through MLX
};

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  uint16_t index = 0;  // among the devices of its kind; 0 for the CPU

  friend bool operator==(const Device&, const Device&) = default;
};

// "cpu", "cuda", "mlx".
LOBIT_API std::string_view device_kind_name(DeviceKind kind);

// Every kind that lobit knows, in this build or not.
LOBIT_API std::span<const DeviceKind> all_device_kinds();

// "cpu", "cuda:1", "mlx:0".
LOBIT_API std::string device_name(Device device);

// The inverse of device_name(); "cuda" and "mlx" mean the first of their kind. kInvalidArgument otherwise.
LOBIT_API Result<Device> parse_device(std::string_view name);

}  // namespace lobit
