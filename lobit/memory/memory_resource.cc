#include "lobit/memory/memory_resource.h"

#include <fmt/format.h>

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

}  // namespace lobit
