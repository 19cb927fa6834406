// CleanupManager: makes what can give memory back do so when it is worth it: when a target was idle for a
// while, when its limit or the program's memory comes near its end, from time to time, or when it is asked.
//
// A HybridMemoryPool gives idle memory back by itself (MemoryPoolOptions::idle_trim). What a manager adds is
// everything above and beside it: blocks that tensor pools keep for reuse, resources without a clock of their
// own, moving blocks together before trimming, functions of the program (caches that can shrink), cleanup
// under pressure, and the record of what each brought. Blocks can be moved together only where free memory
// was not given back yet, so a pool under a MovableBlockPool is best made with an idle_trim of 0.
//
// Only what nobody uses is given back: live blocks keep their address and content, but for those of a
// MovableBlockPool that nobody has pinned. The manager owns no target; each is removed, or the manager gone,
// before the target goes, and both wait for a cleanup that is working on it. Any thread may call anything.
// One cleanup runs at a time: others wait for it. Targets' functions and strategies are called without a lock
// held, by the thread that cleans, which with a schedule is the process's maintenance thread: they should not
// block. They may call the manager, but a cleanup that one of them asks for is refused, with an error in the
// report.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/time_budget.h"
#include "lobit/memory/cleanup_report.h"
#include "lobit/memory/cleanup_strategy.h"
#include "lobit/memory/movable_block_pool.h"
#include "lobit/memory/tensor_memory_pool.h"

namespace lobit {

namespace detail {
class MaintenanceThread;
}

enum class CleanupSchedule : uint8_t {
  kOn,   // the process's maintenance thread asks the strategies at each check_interval
  kOff,  // only who calls clean_due() does; there is no thread
};

enum class Compaction : uint8_t { kOn, kOff };

struct CleanupOptions {
  CleanupSchedule schedule = CleanupSchedule::kOn;
  std::chrono::nanoseconds check_interval = std::chrono::milliseconds(500);
  CleanupPolicy policy = {};
  // Of a run. It stops after the step in which the time was up; what a strategy wanted goes on with the next
  // check.
  std::chrono::nanoseconds max_cleanup_time = std::chrono::milliseconds(100);
  Compaction compaction = Compaction::kOn;  // off: only compact() moves blocks
};

// For programs that must not notice it: runs of 10 ms, nothing is moved, and only when memory is short.
LOBIT_API CleanupOptions minimal_cleanup();
// For programs that share their machine: runs of 500 ms, from 0.6 of a limit or medium pressure on, and after
// 5 s without use.
LOBIT_API CleanupOptions aggressive_cleanup();

class LOBIT_API CleanupManager {
 public:
  // Gives memory back, within the time as far as it can, and returns how many bytes. One that throws gave
  // nothing, and the report says what it threw.
  using Function = std::function<size_t(std::chrono::nanoseconds budget)>;

  // kInvalidArgument for options that make no sense; kOutOfMemory when the system refuses the thread. `clock`
  // is what intervals and durations are measured with, `thread` whose turns the schedule takes (nullptr: the
  // process's).
  static Result<std::unique_ptr<CleanupManager>> create(const CleanupOptions& options = {},
                                                        TimeBudget::Clock clock = steady_nanoseconds,
                                                        detail::MaintenanceThread* thread = nullptr);
  ~CleanupManager();
  CleanupManager(const CleanupManager&) = delete;
  CleanupManager& operator=(const CleanupManager&) = delete;

  // Targets: any resource is trimmed, in steps where it can; a tensor pool gives the blocks back that it
  // keeps; a pool of movable blocks moves them together and trims the resource below it. `limit` is what the
  // "pressure" strategy compares with; a HybridMemoryPool has its own. kInvalidArgument when a target has
  // that name.
  Status add(std::string name, MemoryResource& resource, uint64_t limit = kNoLimit);
  Status add(std::string name, HybridMemoryPool& pool);
  Status add(std::string name, TensorMemoryPool& pool);
  Status add(std::string name, MovableBlockPool& pool);
  Status add(std::string name, Device device, Function function);
  // It is not touched any more once this returns, unless a function of its own calls this. kNotFound.
  Status remove(std::string_view name);

  // Asked behind the built-in ones. kInvalidArgument when there is one of that name, or no function.
  Status register_strategy(CleanupStrategy strategy);
  // Instead of the options' policy for targets of that device. kInvalidArgument as in create().
  Status set_device_policy(Device device, const CleanupPolicy& policy);
  // Where the level in CleanupState comes from; asked once for each check. Empty, or one that throws: kNone.
  void set_pressure_source(std::function<MemoryPressureLevel()> source);

  // All targets at once, those of a device, or one (kNotFound). Each keeps max_cleanup_time.
  CleanupReport force_cleanup();
  CleanupReport cleanup_device(Device device);
  Result<CleanupReport> cleanup(std::string_view name);
  // Targets whose blocks can be moved.
  CleanupReport compact();
  // What the schedule does at each check: asks the strategies about every target and cleans those that one of
  // them wants, within max_cleanup_time for all of them. A report for each strategy that wanted something.
  std::vector<CleanupReport> clean_due();

  CleanupStatistics statistics() const;
  // The last kHistory runs that had a target or an error, the oldest first.
  std::vector<CleanupReport> history() const;
  static constexpr size_t kHistory = 1000;
  const CleanupOptions& options() const;

 private:
  class State;
  explicit CleanupManager(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lobit
