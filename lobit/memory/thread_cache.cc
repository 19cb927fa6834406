#include "lobit/memory/thread_cache.h"

#include <thread>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lobit/base/check.h"

namespace lobit::detail {

namespace {

bool register_for_barriers() {
  // The thread sanitizer does not know the call.
  if constexpr (LOBIT_TSAN != 0) return false;
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

bool has_barrier() {
  static const bool kHas = register_for_barriers();
  return kHas;
}

// At the start of the program: the system takes some ten milliseconds for it once there are threads, and the
// first pool is often made after them.
[[maybe_unused]] const bool kAsksEarly = has_barrier();

}  // namespace

void ThreadCache::prepare() {
  for (size_t c = 0; c < kClasses; ++c) {
    classes[c].top = classes[c].bottom = blocks[c].data();
    classes[c].limit = classes[c].bottom + kSizeClasses[c].cached;
  }
  paused.store(has_barrier() ? 0 : kSymmetric, std::memory_order_seq_cst);
}

void ThreadCache::pause() {
  paused.fetch_or(kPaused, std::memory_order_seq_cst);
  if (has_barrier()) {
    LOBIT_CHECK(::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
  }
  // The owner is inside for some nanoseconds, or in a system call, or waits for a lock that the caller does
  // not hold.
  while (busy.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

void ThreadCache::resume() {
  paused.fetch_and(~kPaused, std::memory_order_seq_cst);
}

}  // namespace lobit::detail
