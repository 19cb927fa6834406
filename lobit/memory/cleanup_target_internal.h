// CleanupTarget: something that can give memory back, and what a CleanupManager remembers of it. Internal to
// memory; guarded by the manager.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "lobit/memory/cleanup_report.h"
#include "lobit/memory/cleanup_strategy.h"
#include "lobit/memory/movable_block_pool.h"
#include "lobit/memory/tensor_memory_pool.h"

namespace lobit::detail {

// Those that give to others come before the others.
enum class CleanupOrder : uint8_t { kFunction, kTensors, kMovable, kResource };

enum class CleanupAction : uint8_t {
  kGive,         // what is free
  kMoveAndGive,  // what is free once blocks were moved together, where they can be
};

struct CleanupUse {
  uint64_t committed = 0;
  uint64_t live = 0;
  uint64_t calls = 0;  // that allocated or freed
};

struct CleanupWork {
  uint64_t bytes = 0;
  uint64_t moved = 0;
  bool finished = true;
};

struct CleanupTarget {
  std::string name;
  Device device;
  CleanupOrder order = CleanupOrder::kFunction;
  uint64_t limit = kNoLimit;
  std::function<CleanupUse()> use = nullptr;  // empty when nothing is known
  std::function<CleanupWork(const TimeBudget&, CleanupAction)> clean = nullptr;

  // Nanoseconds of the manager's clock.
  uint64_t cleaned_at = 0;
  uint64_t busy_at = 0;      // something was seen to have happened
  uint64_t seen_calls = 0;   // then
  bool changed = true;       // since it was cleaned
  std::string unfinished{};  // the strategy whose cleanup is to go on
  bool removed = false;
};

CleanupTarget make_target(std::string name, MemoryResource& resource, uint64_t limit);
CleanupTarget make_target(std::string name, TensorMemoryPool& pool);
CleanupTarget make_target(std::string name, MovableBlockPool& pool);
CleanupTarget make_target(std::string name, Device device,
                          std::function<size_t(std::chrono::nanoseconds)> function);

// Brings what is remembered up to date at `now`.
CleanupUse look_at(CleanupTarget& target, uint64_t now);

// Cleans it and measures. A function that throws gave nothing.
TargetCleanup clean(CleanupTarget& target, CleanupAction action, const TimeBudget& budget,
                    TimeBudget::Clock clock);

// What an exception that is being handled says.
std::string current_exception_text();

}  // namespace lobit::detail
