// CleanupReport: what a cleanup did, measured. Plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/device/device.h"

namespace lobit {

// What one target gave back. When nobody else works there, committed_before - committed_after is bytes_freed;
// both are 0 of a function.
struct TargetCleanup {
  std::string target = {};
  Device device = {};
  uint64_t bytes_freed = 0;
  uint64_t blocks_moved = 0;
  uint64_t committed_before = 0;
  uint64_t committed_after = 0;
  std::chrono::nanoseconds duration = std::chrono::nanoseconds::zero();
  bool finished = true;    // false: the time was up before it gave everything, or before it was its turn
  std::string error = {};  // what its function threw; then bytes_freed is 0
};

// One run: the sums of its targets.
struct LOBIT_API CleanupReport {
  std::string strategy = {};  // "forced" and "compaction" when they were asked for
  uint64_t bytes_freed = 0;
  uint64_t blocks_moved = 0;
  std::chrono::nanoseconds duration = std::chrono::nanoseconds::zero();
  bool finished = true;
  std::string error = {};  // why there was no run, or what the strategy threw
  std::vector<TargetCleanup> targets = {};

  void add(TargetCleanup cleaned);
};

struct LOBIT_API CleanupStatistics {
  struct OfStrategy {
    std::string strategy = {};
    uint64_t runs = 0;
    uint64_t bytes_freed = 0;
    uint64_t blocks_moved = 0;
  };
  uint64_t runs = 0;
  uint64_t bytes_freed = 0;
  uint64_t blocks_moved = 0;
  uint64_t unfinished = 0;  // runs whose time was up
  uint64_t failures = 0;    // strategies and functions that threw
  std::chrono::nanoseconds duration = std::chrono::nanoseconds::zero();
  std::vector<OfStrategy> strategies = {};  // that ran, in the order of their first runs

  void add(const CleanupReport& report);
};

}  // namespace lobit
