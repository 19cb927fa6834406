#include "lobit/device/device.h"

#include <charconv>

#include <fmt/format.h>

namespace lobit {
namespace {

constexpr DeviceKind kKinds[] = {DeviceKind::kCpu, DeviceKind::kCuda, DeviceKind::kMlx};

}  // namespace

std::string_view device_kind_name(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::kCpu:
      return "cpu";
    case DeviceKind::kCuda:
      return "cuda";
    case DeviceKind::kMlx:
      break;
  }
  return "mlx";
}

std::span<const DeviceKind> all_device_kinds() {
  return kKinds;
}

std::string device_name(Device device) {
  const std::string_view kind = device_kind_name(device.kind);
  return device.kind == DeviceKind::kCpu ? std::string(kind) : fmt::format("{}:{}", kind, device.index);
}

Result<Device> parse_device(std::string_view name) {
  for (const DeviceKind kind : kKinds) {
    if (!name.starts_with(device_kind_name(kind))) continue;
    const std::string_view rest = name.substr(device_kind_name(kind).size());
    Device device{kind, 0};
    if (rest.empty()) return device;
    if (kind == DeviceKind::kCpu || rest[0] != ':') break;
    const auto [end, problem] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), device.index);
    if (problem != std::errc() || end != rest.data() + rest.size()) break;
    return device;
  }
  return fail(ErrorCode::kInvalidArgument, fmt::format("device '{}': expected cpu, cuda:N or mlx:N", name));
}

}  // namespace lobit
