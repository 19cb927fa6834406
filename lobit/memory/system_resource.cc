#include "lobit/memory/system_resource.h"

#include "lobit/base/checked.h"
#include "lobit/memory/taken_blocks_internal.h"

namespace lobit {

SystemResource::SystemResource() : SystemResource(*backend(Device{}).value()) {}
SystemResource::SystemResource(Backend& backend)
    : blocks_(std::make_unique<detail::TakenBlocks<Backend>>(backend)) {}
SystemResource::~SystemResource() = default;

Result<void*> SystemResource::do_allocate(size_t bytes, size_t alignment, Stream stream) {
  LOBIT_RETURN_IF_ERROR(check_request(bytes, alignment));
  // What cannot be rounded is refused below.
  const size_t rounded = checked_round_up(bytes, alignment).value_or(bytes);
  return blocks_->allocate(bytes, alignment, rounded, stream);
}

Status SystemResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  return blocks_->deallocate(pointer, bytes, alignment, stream);
}

MemoryUsage SystemResource::do_usage() const {
  return blocks_->usage();
}

Device SystemResource::do_device() const {
  return blocks_->below().device();
}

}  // namespace lobit
