// For tests alone (not installed): a clock for a MaintenanceThread that stands still until it is advanced.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "lobit/memory/maintenance_thread.h"

namespace lobit::detail {

// For one thread, which has a task.
class TestMaintenanceClock final : public MaintenanceClock {
 public:
  Time now() const override {
    const std::lock_guard lock(mutex_);
    return now_;
  }

  // Returns when all turns that are due then are over.
  void advance(std::chrono::nanoseconds duration) {
    std::unique_lock lock(mutex_);
    asleep_changed_.wait(lock, [&] { return asleep_; });
    std::mutex& of_thread = *thread_mutex_;
    lock.unlock();
    {
      const std::lock_guard thread_lock(of_thread);
      lock.lock();
      now_ += duration;
      asleep_ = false;
      thread_changed_->notify_all();
      lock.unlock();
    }
    lock.lock();
    asleep_changed_.wait(lock, [&] { return asleep_ && (!until_ || *until_ > now_); });
  }

  // Whether the thread waits for a task to be stirred, not for a time; as of the last advance().
  bool is_thread_at_rest() const {
    const std::lock_guard lock(mutex_);
    return asleep_ && !until_;
  }

  void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
            std::optional<Time> until) override {
    set_asleep(true, lock.mutex(), &changed, until);
    changed.wait(lock);
    set_asleep(false, lock.mutex(), &changed, until);
  }

 private:
  void set_asleep(bool asleep, std::mutex* mutex, std::condition_variable* changed,
                  std::optional<Time> until) {
    const std::lock_guard lock(mutex_);
    asleep_ = asleep;
    thread_mutex_ = mutex;
    thread_changed_ = changed;
    until_ = until;
    asleep_changed_.notify_all();
  }

  mutable std::mutex mutex_;  // behind the thread's
  std::condition_variable asleep_changed_;
  Time now_;
  bool asleep_ = false;
  std::optional<Time> until_;
  std::mutex* thread_mutex_ = nullptr;
  std::condition_variable* thread_changed_ = nullptr;
};

}  // namespace lobit::detail
