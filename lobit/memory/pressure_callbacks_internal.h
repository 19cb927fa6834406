// PressureCallbacks: who wants to know of changes of pressure, and the changes that they have not been told
// yet. Each change reaches everybody who was there when it was posted, once and in order; one thread at a
// time calls them, without a lock held. Any thread may call anything, also from a callback.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "lobit/memory/pressure_monitor.h"

namespace lobit::detail {

class PressureCallbacks {
 public:
  using Id = PressureMonitor::CallbackId;
  using Callback = std::function<void(const PressureChange&)>;

  Id add(Callback callback);
  // Waits while another thread is in it.
  void remove(Id id);

  // Remembers the change, which the next deliver() tells. Calls nobody, so that locks may be held.
  void post(PressureChange change);
  // Tells what was posted, unless a thread is about it already, which then tells it all.
  void deliver();
  // deliver(), and waits for the other thread; not within a callback, which others may be waiting for.
  void deliver_and_wait();
  // Nobody is called any more. Waits for who is.
  void close();

 private:
  struct Posted {
    PressureChange change;
    Id before;  // ids that were given out until then are lower
  };
  using Lock = std::unique_lock<std::mutex>;

  void deliver(Lock& lock);
  void tell(const Posted& posted, Lock& lock);

  std::mutex mutex_;
  std::condition_variable done_;                             // a call, or telling one change
  std::map<Id, std::shared_ptr<const Callback>> callbacks_;  // whoever calls one shares it
  Id next_id_ = 1;
  std::deque<Posted> posted_;
  uint64_t posted_count_ = 0;  // ever
  uint64_t told_count_ = 0;
  std::thread::id teller_;  // of no thread: nobody tells
  Id running_ = 0;
};

}  // namespace lobit::detail
