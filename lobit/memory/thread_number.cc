#include "lobit/memory/thread_number.h"

#include <atomic>

namespace lobit::detail {

uint32_t thread_number() {
  static std::atomic<uint32_t> count = 0;
  thread_local const uint32_t kNumber = count.fetch_add(1, std::memory_order_relaxed);
  return kNumber;
}

}  // namespace lobit::detail
