// IdleTrim: gives back what a pool has kept unused for a period. At each turn it empties the caches of
// threads that did nothing since the turn before, and discards free memory that nobody freed or committed
// since then: so memory goes after one to two periods without use, what threads' caches hold a period later,
// and work that repeats within the period keeps what it needs.
#pragma once

#include <chrono>
#include <memory>

#include "lobit/memory/maintenance_thread.h"
#include "lobit/memory/page_heap.h"
#include "lobit/memory/small_block_pool.h"

namespace lobit::detail {

class IdleTrim final : public MaintenanceTask {
 public:
  // `heap`, `small` and `thread` outlive it. kOutOfMemory when the system refuses a thread.
  static Result<std::unique_ptr<IdleTrim>> start(PageHeap& heap, SmallBlockPool& small,
                                                 std::chrono::nanoseconds period,
                                                 MaintenanceThread& thread = MaintenanceThread::of_process());
  ~IdleTrim();

 private:
  IdleTrim(PageHeap& heap, SmallBlockPool& small, std::chrono::nanoseconds period, MaintenanceThread& thread)
      : MaintenanceTask(period), heap_(heap), small_(small), thread_(thread) {}

  NextTurn take_turn() override;

  PageHeap& heap_;
  SmallBlockPool& small_;
  MaintenanceThread& thread_;
};

}  // namespace lobit::detail
