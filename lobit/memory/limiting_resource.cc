#include "lobit/memory/limiting_resource.h"

#include <fmt/format.h>

namespace lobit {

Result<void*> LimitingResource::do_allocate(size_t bytes, size_t alignment, Stream stream) {
  LOBIT_RETURN_IF_ERROR(check_request(bytes, alignment));
  uint64_t counted = counted_.load(std::memory_order_relaxed);
  do {
    if (bytes > limit_ - counted) {
      return fail(ErrorCode::kLimit,
                  fmt::format("allocate: {} bytes asked for, {} of the limit of {} are left", bytes,
                              limit_ - counted, limit_),
                  {.required = bytes, .available = limit_ - counted});
    }
  } while (!counted_.compare_exchange_weak(counted, counted + bytes, std::memory_order_relaxed));

  Result<void*> block = upstream().allocate(bytes, alignment, stream);
  if (!block) counted_.fetch_sub(bytes, std::memory_order_relaxed);
  return block;
}

Status LimitingResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  // What counts is never less than any live block, so this block cannot have come from here.
  if (bytes > counted()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("deallocate: {} bytes, but only {} are allocated", bytes, counted()));
  }
  // The bytes count until the resource below has them back: counting less before would let another thread
  // go above the limit.
  LOBIT_RETURN_IF_ERROR(upstream().deallocate(pointer, bytes, alignment, stream));
  counted_.fetch_sub(bytes, std::memory_order_relaxed);
  return {};
}

}  // namespace lobit
