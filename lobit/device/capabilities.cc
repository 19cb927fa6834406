#include "lobit/device/capabilities.h"

#include "lobit/device/backend_internal.h"

namespace lobit {

std::string_view transparent_huge_pages_name(TransparentHugePages mode) {
  switch (mode) {
    case TransparentHugePages::kNever:
      return "never";
    case TransparentHugePages::kMadvise:
      return "madvise";
    case TransparentHugePages::kAlways:
      return "always";
    case TransparentHugePages::kUnknown:
      break;
  }
  return "unknown";
}

Result<DeviceCapabilities> DeviceCapabilities::for_device(Device device, Bandwidth bandwidth) {
  LOBIT_TRY(const detail::BackendKind* row, detail::backend_kind(device));
  return row->capabilities(device, bandwidth);
}

}  // namespace lobit
