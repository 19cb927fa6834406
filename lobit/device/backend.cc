#include "lobit/device/backend.h"

#include <fmt/format.h>

#include "lobit/device/backend_internal.h"

namespace lobit {
namespace {

// The best first: a GPU has more bandwidth than the processor beside it.
constexpr const detail::BackendKind* kKinds[] = {&detail::kCudaKind, &detail::kMlxKind, &detail::kCpuKind};

}  // namespace

namespace detail {

Result<const BackendKind*> backend_kind(Device device) {
  for (const BackendKind* row : kKinds) {
    if (row->kind == device.kind) return row;
  }
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("device: there is no kind {}", static_cast<unsigned>(device.kind)));
}

tl::unexpected<Error> absent_backend(Device device, std::string_view title, std::string_view option) {
  const std::string name = device_name(device);
  return fail(ErrorCode::kUnsupported,
              fmt::format("device {}: expected a build with the {} backend (option {}, not part of this "
                          "version), found one without",
                          name, title, option),
              {.to = name});
}

}  // namespace detail

std::vector<Device> available_devices() {
  std::vector<Device> all;
  for (const detail::BackendKind* row : kKinds) {
    const std::vector<Device> devices = row->devices();
    all.insert(all.end(), devices.begin(), devices.end());
  }
  return all;
}

Device auto_select_device() {
  return available_devices().front();
}

Result<Backend*> backend(Device device) {
  LOBIT_TRY(const detail::BackendKind* row, detail::backend_kind(device));
  return row->backend(device);
}

Status copy_between(Device to_device, void* to, Device from_device, const void* from, size_t bytes,
                    Stream stream) {
  LOBIT_TRY(Backend * target, backend(to_device));
  LOBIT_TRY(Backend * source, backend(from_device));
  const bool to_host = to_device.kind == DeviceKind::kCpu;
  const bool from_host = from_device.kind == DeviceKind::kCpu;
  if (to_host && from_host) return target->copy(to, from, bytes, CopyKind::kHostToHost, stream);
  if (to_host) return source->copy(to, from, bytes, CopyKind::kDeviceToHost, stream);
  if (from_host) return target->copy(to, from, bytes, CopyKind::kHostToDevice, stream);
  if (to_device.kind == from_device.kind) {
    return target->copy(to, from, bytes, CopyKind::kDeviceToDevice, stream);
  }
  return fail(ErrorCode::kUnsupported,
              fmt::format("copy: no way from {} to {} but through the host", device_name(from_device),
                          device_name(to_device)),
              {.from = device_name(from_device), .to = device_name(to_device)});
}

}  // namespace lobit
