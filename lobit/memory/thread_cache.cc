#include "lobit/memory/thread_cache.h"

#include <thread>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace lobit::detail {

namespace {

bool register_for_barriers() {
  // The thread sanitizer does not know the call.
  if constexpr (LOBIT_TSAN != 0) return false;
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

}  // namespace

const bool kAsymmetricFences = register_for_barriers();

void ThreadCache::pause() {
  paused.store(1, std::memory_order_seq_cst);
  if (kAsymmetricFences) ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  // The owner is inside for well under a microsecond, or waits for a lock that the caller does not hold.
  while (busy.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

}  // namespace lobit::detail
