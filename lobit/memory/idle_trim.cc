#include "lobit/memory/idle_trim.h"

#include <thread>

namespace lobit::detail {

Result<std::unique_ptr<IdleTrim>> IdleTrim::start(PageHeap& heap, SmallBlockPool& small,
                                                  std::chrono::nanoseconds period,
                                                  MaintenanceThread& thread) {
  std::unique_ptr<IdleTrim> task(new IdleTrim(heap, small, period, thread));
  LOBIT_RETURN_IF_ERROR(thread.add(*task));
  heap.watch(heap.lock(), task.get());
  small.watch(task.get());
  return task;
}

// Nobody stirs it any more once it is removed: threads may end, and free, until the pool is gone.
IdleTrim::~IdleTrim() {
  heap_.watch(heap_.lock(), nullptr);
  small_.watch(nullptr);
  thread_.remove(*this);
}

NextTurn IdleTrim::take_turn() {
  bool again = small_.drain_resting();
  while (true) {
    const PageHeap::Round round = heap_.discard_untouched(heap_.lock());
    if (round == PageHeap::Round::kUnfinished) {
      std::this_thread::yield();  // to those who wait for the lock
      continue;
    }
    again |= round == PageHeap::Round::kTouched;
    return again ? NextTurn::kAfterPeriod : NextTurn::kWhenStirred;
  }
}

}  // namespace lobit::detail
