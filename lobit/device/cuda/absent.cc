// The CUDA backend of builds that have none: it has no devices, and every call says why.
#include "lobit/device/backend_internal.h"

namespace lobit::detail {
namespace {

std::vector<Device> devices() {
  return {};
}

Result<Backend*> absent(Device device) {
  return absent_backend(device, "CUDA", "LOBIT_CUDA");
}

Result<DeviceCapabilities> absent_capabilities(Device device, Bandwidth /*bandwidth*/) {
  return absent_backend(device, "CUDA", "LOBIT_CUDA");
}

}  // namespace

const BackendKind kCudaKind = {DeviceKind::kCuda, devices, absent, absent_capabilities};

}  // namespace lobit::detail
