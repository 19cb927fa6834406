// CleanupStrategy: when something that can give memory back is to be asked for it. A strategy is a row: a
// name and a function that looks at one target. Plain values; the functions are called by whoever runs the
// cleanup, one at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "lobit/base/export.h"
#include "lobit/device/device.h"
#include "lobit/memory/hybrid_memory_pool.h"
#include "lobit/memory/memory_pressure_level.h"

namespace lobit {

// When the built-in strategies want a cleanup. A device may have a policy of its own.
struct CleanupPolicy {
  // "idle": nothing was allocated or freed there for so long, but something was since the last cleanup. 0:
  // never.
  std::chrono::nanoseconds idle_interval = std::chrono::seconds(30);
  // "pressure": so much of the target's limit is committed, or the program's memory is under such pressure,
  // and something happened there since the last cleanup.
  double pressure_threshold = 0.9;
  MemoryPressureLevel pressure_level = MemoryPressureLevel::kHigh;
  // "periodic": so long after the last cleanup, whatever happened. 0: never.
  std::chrono::nanoseconds period = std::chrono::nanoseconds::zero();
};

// What is known of a target when a strategy is asked. Of a function only the name, the device, the time since
// the last cleanup and the level are.
struct CleanupState {
  std::string_view target;
  Device device = {};
  uint64_t committed = 0;     // bytes taken from the system or the resource below
  uint64_t live = 0;          // of these, bytes of blocks in use, as rounded
  uint64_t limit = kNoLimit;  // of committed
  bool changed = true;        // something was allocated or freed since the last cleanup; always of a function
  // Since something was last seen to be allocated or freed; 0 of a function.
  std::chrono::nanoseconds idle = std::chrono::nanoseconds::zero();
  // Since the last cleanup, or since the target was added.
  std::chrono::nanoseconds since_cleanup = std::chrono::nanoseconds::zero();
  MemoryPressureLevel level = MemoryPressureLevel::kNone;
  CleanupPolicy policy = {};   // of the target's device
  bool policy_is_own = false;  // of that device alone

  // The share of the limit that is committed; 0 without a limit.
  double fill() const {
    return limit == kNoLimit || limit == 0 ? 0.0
                                           : static_cast<double>(committed) / static_cast<double>(limit);
  }
};

struct CleanupStrategy {
  std::string name;
  // One that throws has said no.
  std::function<bool(const CleanupState&)> should_clean;
};

// "pressure", "device" (any of the others, for targets whose device has a policy of its own; the others leave
// these alone), "idle" and "periodic", asked in this order.
LOBIT_API std::span<const CleanupStrategy> builtin_cleanup_strategies();

// kInvalidArgument for a policy that cannot be followed.
LOBIT_API Status check_policy(const CleanupPolicy& policy);

}  // namespace lobit
