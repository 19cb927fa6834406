// PressureMonitor: says how near the end of its memory the program is, and calls whoever can do something
// about it at every change. It looks at the pools it is told to watch, at the container's limits and at how
// long tasks stand still for want of memory; the level is the highest that one of them gives. It looks by
// itself at every interval, whenever check() is called, and when a watched HybridMemoryPool is about to
// refuse an allocation.
//
// The monitor owns its callbacks and none of the pools: each must outlive the monitor or be unwatched first.
// Any thread may call anything. Callbacks are called one at a time, without a lock of the monitor held, by
// the thread that found the change: one in check(), one that allocates, or the maintenance thread, which
// serves all pools of the process and has a stack of 256 KiB. They may allocate, free, add and remove
// callbacks, watch and unwatch, and check; what that changes is told when they are done. An exception that
// leaves them counts as done. They may not destroy the monitor, nor take a lock that somebody holds while
// allocating from a watched pool. A child process after fork() may not use it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/result.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/memory_pressure_level.h"

namespace lobit {

namespace detail {
class MaintenanceThread;
class PressureState;
}  // namespace detail

// The share of a limit that is in use at which each level begins, ascending in (0, 1]. It ends two hundredths
// lower (at half of a threshold below four hundredths), so that use at its edge does not make it flutter.
struct LOBIT_API PressureThresholds {
  double low = 0.70;
  double medium = 0.80;
  double high = 0.90;
  double critical = 0.95;

  // From the one ratio at which medium pressure begins; the others keep their proportion to it, up to 1. 0.8
  // gives the defaults. kInvalidArgument outside of (0, 1].
  static Result<PressureThresholds> from_ratio(double ratio);
};

enum class PressureWatch : uint8_t { kOff, kOn };

struct PressureOptions {
  PressureThresholds thresholds = {};  // of pools and containers
  // How often it looks by itself, on the process's maintenance thread. 0: only when it is asked or a pool is
  // short, and there is no thread. At most a day.
  std::chrono::milliseconds interval{100};
  PressureWatch container = PressureWatch::kOn;
  // Stalls, of the process's control group or else of the system, are judged by the last second: where at
  // least one task stood still for 2, 7 or 20 hundredths of it the level is low, medium or high, where all
  // did for 10 hundredths it is critical.
  PressureWatch stalls = PressureWatch::kOn;
  std::filesystem::path root = "/";  // where procfs and control groups are mounted; another one is for tests
};

enum class PressureSource : uint8_t { kPool, kContainer, kStall };

constexpr std::string_view pressure_source_name(PressureSource source) {
  switch (source) {
    case PressureSource::kPool:
      return "pool";
    case PressureSource::kContainer:
      return "container";
    case PressureSource::kStall:
      return "stall";
  }
  return "unknown";
}

// What one source said when it was last looked at.
struct PressureReading {
  PressureSource source = PressureSource::kPool;
  std::string name = {};  // of a pool as it was given; of a control group or a file of stalls its path
  MemoryPressureLevel level = MemoryPressureLevel::kNone;
  uint64_t used = 0;  // bytes; of a pool that was short, with the request that did not fit
  uint64_t limit = kNoLimit;
  double some_stalled = 0;  // share of the last second, or of the time since the last look if that was longer
  double full_stalled = 0;
  std::optional<Error> error = std::nullopt;  // why it says nothing
};

struct PressureChange {
  MemoryPressureLevel from = MemoryPressureLevel::kNone;
  MemoryPressureLevel to = MemoryPressureLevel::kNone;
  PressureReading cause = {};  // of the source that rose, or of the one that was highest and fell
};

struct PressureStatus {
  MemoryPressureLevel level = MemoryPressureLevel::kNone;
  std::vector<PressureReading> sources = {};  // container, stalls, then pools as they came
};

class LOBIT_API PressureMonitor {
 public:
  // kInvalidArgument for thresholds or an interval out of range, kOutOfMemory when the system refuses a
  // thread. Files that cannot be read are no error: their source says nothing, and status() says why.
  static Result<std::unique_ptr<PressureMonitor>> create(const PressureOptions& options = {});
  static Result<std::unique_ptr<PressureMonitor>> create(const PressureOptions& options,
                                                         detail::MaintenanceThread& thread);
  // Waits for callbacks that are being called.
  ~PressureMonitor();
  PressureMonitor(const PressureMonitor&) = delete;
  PressureMonitor& operator=(const PressureMonitor&) = delete;

  const PressureOptions& options() const;

  // A pool's held_bytes() against what its options allow it. While an allocation is about to fail the level
  // is critical; callbacks are called before it does, and it is tried again after them. kInvalidArgument for
  // what is watched already.
  Status watch(HybridMemoryPool& pool, std::string name = "pool");
  // Any other resource: usage().used against `limit` >= 1. Its usage() may not call the monitor, nor wait
  // for an allocation.
  Status watch(const MemoryResource& resource, uint64_t limit, std::string name = "pool");
  // The monitor does not touch it any more once this returns.
  void unwatch(const MemoryResource& resource);

  // Every change from now on calls `callback` once, in the order in which they happen.
  using CallbackId = uint64_t;
  CallbackId add_callback(std::function<void(const PressureChange&)> callback);
  // It is not running once this returns, unless it is the caller, and is not called any more.
  void remove_callback(CallbackId id);

  // As of the last look: may be ahead of what callbacks were told. Costs a load.
  MemoryPressureLevel level() const { return level_->load(std::memory_order_relaxed); }
  // Looks now. Callbacks were called when it returns, unless another thread is calling them, which then goes
  // on with these changes.
  MemoryPressureLevel check();
  // check() with all that was seen.
  PressureStatus status();

 private:
  class Polling;
  explicit PressureMonitor(std::shared_ptr<detail::PressureState> state);

  // Shared with a pool that is short, as long as it calls.
  std::shared_ptr<detail::PressureState> state_;
  const std::atomic<MemoryPressureLevel>* level_;  // of state_
  std::unique_ptr<Polling> polling_;
};

}  // namespace lobit
