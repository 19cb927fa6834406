#include "lobit/device/device.h"

#include <charconv>

#include <fmt/format.h>

namespace lobit {
namespace {

struct KindRow {
  DeviceKind kind;
  std::string_view name;
};
constexpr KindRow kKinds[] = {
    {DeviceKind::kCpu, "cpu"}, {DeviceKind::kCuda, "cuda"}, {DeviceKind::kMlx, "mlx"}};

}  // namespace

std::string device_name(Device device) {
  const std::string_view kind = kKinds[static_cast<size_t>(device.kind)].name;
  return device.kind == DeviceKind::kCpu ? std::string(kind) : fmt::format("{}:{}", kind, device.index);
}

Result<Device> parse_device(std::string_view name) {
  for (const KindRow& row : kKinds) {
    if (!name.starts_with(row.name)) continue;
    const std::string_view rest = name.substr(row.name.size());
    Device device{row.kind, 0};
    if (rest.empty()) return device;
    if (row.kind == DeviceKind::kCpu || rest[0] != ':') break;
    const auto [end, problem] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), device.index);
    if (problem != std::errc() || end != rest.data() + rest.size()) break;
    return device;
  }
  return fail(ErrorCode::kInvalidArgument, fmt::format("device '{}': expected cpu, cuda:N or mlx:N", name));
}

}  // namespace lobit
