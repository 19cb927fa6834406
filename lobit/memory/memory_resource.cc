#include "lobit/memory/memory_resource.h"

#include <array>

#include <fmt/format.h>

#include "lobit/memory/memory_profile.h"
#include "lobit/memory/resource_wrapper.h"

namespace lobit {

Status check_request(size_t bytes, size_t alignment) {
  if (!is_valid_request(bytes, alignment)) {
    if (bytes == 0) {
      return fail(ErrorCode::kInvalidArgument, "allocate: 0 bytes asked for, expected at least 1");
    }
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("allocate: alignment {}, expected a power of two up to {}", alignment, kMaxAlignment));
  }
  Status valid;  // `return {}` would clear the room for an error first
  return valid;
}

std::optional<MemoryFragmentation> MemoryResource::fragmentation() const {
  return do_fragmentation();
}

std::optional<MemoryFragmentation> MemoryResource::do_fragmentation() const {
  return std::nullopt;
}

TrimResult MemoryResource::do_trim_within(const TimeBudget& /*budget*/) {
  return {.bytes = do_trim(), .finished = true};
}

std::optional<MemoryFragmentation> ResourceWrapper::do_fragmentation() const {
  return upstream_->fragmentation();
}

// Allocates like everybody. What a pool has at hand for the calling thread comes first, wherever it lies, and
// is held until something lower comes, or for a few tries.
void* MemoryResource::do_allocate_below(const void* block, size_t bytes, size_t alignment, Stream stream) {
  std::array<void*, 4> higher{};
  void* found = nullptr;
  for (void*& candidate : higher) {
    const Result<void*> allocated = do_allocate(bytes, alignment, stream);
    if (!allocated) break;
    if (reinterpret_cast<uintptr_t>(*allocated) < reinterpret_cast<uintptr_t>(block)) {
      found = *allocated;
      break;
    }
    candidate = *allocated;
  }
  for (void* candidate : higher) {
    if (candidate != nullptr) static_cast<void>(do_deallocate(candidate, bytes, alignment, stream));
  }
  return found;
}

}  // namespace lobit
