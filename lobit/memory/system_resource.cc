#include "lobit/memory/system_resource.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "lobit/base/checked.h"

namespace lobit {

SystemResource::~SystemResource() {
  for (const auto& [pointer, block] : blocks_.blocks()) std::free(pointer);
}

Result<void*> SystemResource::do_allocate(size_t bytes, size_t alignment, Stream /*stream*/) {
  LOBIT_RETURN_IF_ERROR(check_request(bytes, alignment));
  // Above PTRDIFF_MAX no object exists, and sanitizers end a program that asks for one.
  const std::optional<size_t> rounded = checked_round_up(bytes, alignment);
  const bool possible = rounded.has_value() && *rounded <= PTRDIFF_MAX;
  std::unique_ptr<void, decltype(&std::free)> block(
      possible ? std::aligned_alloc(alignment, *rounded) : nullptr, &std::free);
  if (block == nullptr) {
    return fail(ErrorCode::kOutOfMemory, fmt::format("allocate: the system refused {} bytes", bytes),
                {.required = bytes});
  }
  const std::lock_guard lock(mutex_);
  LOBIT_RETURN_IF_ERROR(blocks_.add(block.get(), bytes, alignment, *rounded));
  return block.release();
}

Status SystemResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream /*stream*/) {
  {
    const std::lock_guard lock(mutex_);
    LOBIT_RETURN_IF_ERROR(blocks_.remove(pointer, bytes, alignment));
  }
  std::free(pointer);
  return {};
}

MemoryUsage SystemResource::do_usage() const {
  const std::lock_guard lock(mutex_);
  return blocks_.usage();
}

}  // namespace lobit
