// MaintenanceThread: the one thread of the process that works for pools while nobody calls them. It gives
// each task a turn when the task's time has come, one after the other, and sleeps otherwise: as long as
// nothing stirs its tasks, it does not wake up. It runs while it has tasks. Any thread may call anything; a
// turn is taken without any lock held, so a task may be stirred under locks that its own turn takes.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "lobit/base/result.h"

namespace lobit::detail {

class MaintenanceThread;

// When a task wants its next turn.
enum class NextTurn : uint8_t {
  kAfterPeriod,
  kWhenStirred,  // a period after that; also when it was stirred during this turn
};

// Something that wants turns. Belongs to at most one thread, and is removed from it before it goes.
class MaintenanceTask {
 public:
  explicit MaintenanceTask(std::chrono::nanoseconds period) : period_(period) {}
  MaintenanceTask(const MaintenanceTask&) = delete;
  MaintenanceTask& operator=(const MaintenanceTask&) = delete;

  // Something happened: there will be a turn within a period. Costs a load, unless it is the first time since
  // the last turn began. Not called before the task is added nor while it is removed.
  void stir() {
    if (resting_.load(std::memory_order_relaxed)) [[unlikely]]
      wake();
  }

 protected:
  ~MaintenanceTask() = default;

 private:
  friend class MaintenanceThread;
  // Does not throw.
  virtual NextTurn take_turn() = 0;
  void wake();

  const std::chrono::nanoseconds period_;
  MaintenanceThread* thread_ = nullptr;
  std::atomic<bool> resting_{false};  // nothing stirred it since the last turn began
};

// What time it is. An interface, so that tests need not wait.
class MaintenanceClock {
 public:
  using Time = std::chrono::steady_clock::time_point;

  virtual Time now() const = 0;
  // Called with the thread's lock held. Returns when `changed` is notified, and when it is `until`; it may
  // return at any time.
  virtual void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                    std::optional<Time> until) = 0;

 protected:
  ~MaintenanceClock() = default;
};

class SystemMaintenanceClock final : public MaintenanceClock {
 public:
  Time now() const override { return std::chrono::steady_clock::now(); }
  void wait(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
            std::optional<Time> until) override;
};

class MaintenanceThread {
 public:
  // Never destroyed, because pools may end after static objects do. A child process after fork() has one of
  // its own, without tasks.
  static MaintenanceThread& of_process();

  explicit MaintenanceThread(MaintenanceClock& clock);
  MaintenanceThread(const MaintenanceThread&) = delete;
  MaintenanceThread& operator=(const MaintenanceThread&) = delete;
  ~MaintenanceThread();  // has no tasks any more

  const MaintenanceClock& clock() const { return clock_; }

  // The first task starts the thread. kOutOfMemory when the system refuses it.
  Status add(MaintenanceTask& task);
  // A turn that is under way is waited for. The last task ends the thread.
  void remove(MaintenanceTask& task);

 private:
  friend class MaintenanceTask;
  using Time = MaintenanceClock::Time;

  // A thread that ends keeps its own, so that another may start while it is waited for.
  struct Worker;
  struct Entry {
    MaintenanceTask* task;
    std::optional<Time> due;
  };

  static void* run_worker(void* worker);
  static void before_fork();
  static void after_fork_in_parent();
  static void after_fork_in_child();

  Status start();
  void work(const Worker& worker);
  void give_turn(MaintenanceTask& task, std::unique_lock<std::mutex>& lock);
  void schedule(const MaintenanceTask& task);
  Entry* entry_of(const MaintenanceTask& task);
  Entry* next_entry();

  MaintenanceClock& clock_;
  std::mutex mutex_;  // held for some steps only, so whoever stirs a task hardly waits for it
  std::condition_variable changed_;
  std::condition_variable turn_over_;
  std::vector<Entry> entries_;
  const MaintenanceTask* in_turn_ = nullptr;
  std::unique_ptr<Worker> worker_;
};

}  // namespace lobit::detail
