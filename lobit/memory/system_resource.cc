#include "lobit/memory/system_resource.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "lobit/base/checked.h"

namespace lobit {

SystemResource::~SystemResource() {
  for (const auto& [pointer, block] : blocks_) std::free(pointer);
}

Result<void*> SystemResource::do_allocate(size_t bytes, size_t alignment, Stream /*stream*/) {
  LOBIT_RETURN_IF_ERROR(check_request(bytes, alignment));
  const std::optional<size_t> rounded = checked_round_up(bytes, alignment);
  std::unique_ptr<void, decltype(&std::free)> block(
      rounded.has_value() ? std::aligned_alloc(alignment, *rounded) : nullptr, &std::free);
  if (block == nullptr) {
    return fail(ErrorCode::kOutOfMemory, fmt::format("allocate: the system refused {} bytes", bytes),
                {.required = bytes});
  }
  const std::lock_guard lock(mutex_);
  blocks_.emplace(block.get(), Block{bytes, alignment});
  usage_.allocated += bytes;
  usage_.used += *rounded;
  usage_.committed = usage_.used;
  usage_.peak_allocated = std::max(usage_.peak_allocated, usage_.allocated);
  usage_.peak_committed = std::max(usage_.peak_committed, usage_.committed);
  ++usage_.allocations;
  return block.release();
}

Status SystemResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream /*stream*/) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(pointer);
    if (found == blocks_.end()) {
      return fail(ErrorCode::kInvalidArgument, "deallocate: no live block of this resource begins there");
    }
    if (found->second.bytes != bytes || found->second.alignment != alignment) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("deallocate: {} bytes aligned to {}, but the block has {} aligned to {}", bytes,
                              alignment, found->second.bytes, found->second.alignment));
    }
    // The record goes before the memory does: another thread may be given the same address at once.
    blocks_.erase(found);
    usage_.allocated -= bytes;
    usage_.used -= checked_round_up(bytes, alignment).value();
    usage_.committed = usage_.used;
    ++usage_.deallocations;
  }
  std::free(pointer);
  return {};
}

MemoryUsage SystemResource::do_usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

}  // namespace lobit
