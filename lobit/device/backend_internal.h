// The kinds of devices as rows of functions. Each kind's folder defines its own row, and CMake chooses the
// file: the backend, or the one that says that it is absent. Internal to device.
#pragma once

#include <string_view>
#include <vector>

#include "lobit/device/backend.h"
#include "lobit/device/capabilities.h"

namespace lobit::detail {

struct BackendKind {
  DeviceKind kind;
  std::vector<Device> (*devices)();
  Result<Backend*> (*backend)(Device device);
  Result<DeviceCapabilities> (*capabilities)(Device device, Bandwidth bandwidth);
};

extern const BackendKind kCpuKind;
extern const BackendKind kCudaKind;
extern const BackendKind kMlxKind;

// kInvalidArgument for a kind that does not exist.
Result<const BackendKind*> backend_kind(Device device);

// What every call of an absent kind returns. `title` as people write it, `option` as CMake does.
tl::unexpected<Error> absent_backend(Device device, std::string_view title, std::string_view option);

}  // namespace lobit::detail
