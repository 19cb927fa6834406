#include "lobit/convert/memory_account.h"

#include <fmt/format.h>

#include "lobit/base/bytes.h"

namespace lobit {

Result<MemoryAccount::Hold> MemoryAccount::hold(uint64_t bytes) {
  if (bytes == 0) return Hold();
  uint64_t held = held_.load(std::memory_order_relaxed);
  do {
    if (held > limit_ || bytes > limit_ - held) {
      const uint64_t available = held > limit_ ? 0 : limit_ - held;
      return fail(ErrorCode::kLimit,
                  fmt::format("max_memory_usage: {}: too small: the conversion needs {} beside {} in use",
                              format_bytes(limit_), format_bytes(bytes), format_bytes(held)),
                  {.required = bytes, .available = available});
    }
  } while (!held_.compare_exchange_weak(held, held + bytes, std::memory_order_relaxed));
  const uint64_t now = held + bytes;
  uint64_t peak = peak_.load(std::memory_order_relaxed);
  while (peak < now && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
  return Hold(this, bytes);
}

}  // namespace lobit
