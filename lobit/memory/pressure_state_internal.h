// PressureState: what a PressureMonitor knows, and what a pool that is short holds on to while it calls. Any
// thread may call anything.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lobit/memory/maintenance_thread.h"
#include "lobit/memory/pressure_callbacks_internal.h"
#include "lobit/memory/pressure_monitor.h"
#include "lobit/memory/pressure_rules_internal.h"

namespace lobit::detail {

class PressureState final : public std::enable_shared_from_this<PressureState> {
 public:
  // `clock` outlives it.
  PressureState(PressureOptions options, const MaintenanceClock& clock);

  const PressureOptions& options() const { return options_; }
  const std::atomic<MemoryPressureLevel>& level() const { return level_; }
  PressureCallbacks& callbacks() { return callbacks_; }

  Status watch(HybridMemoryPool& pool, std::string name);
  Status watch(const MemoryResource& resource, uint64_t limit, std::string name);
  void unwatch(const MemoryResource& resource);

  PressureStatus check();
  // Touches no pool any more and calls nobody. Waits for who is called.
  void close();

 private:
  struct Source {
    PressureReading reading;
    uint64_t id = 0;
    const MemoryResource* resource = nullptr;
    HybridMemoryPool* pool = nullptr;  // the same, when it is one
    HybridMemoryPool::ReclaimerId reclaimer = 0;
    int shortages = 0;  // allocations that fail while callbacks are called; the reading stands still
  };
  using Lock = std::lock_guard<std::mutex>;

  Status add(Source source);
  void stop_watching(Source& source);
  Source* find(const MemoryResource& resource);
  Source* find(uint64_t id);

  void measure_all();
  void measure_container(PressureReading& reading, const Result<CgroupMemory>& memory) const;
  void measure_stall(PressureReading& reading, const Result<CgroupMemory>& memory);
  void measure_pool(Source& source) const;
  void settle();

  void relieve(const HybridMemoryPool& pool, const OutOfMemory& what);
  uint64_t begin_shortage(const HybridMemoryPool& pool, const OutOfMemory& what);
  void end_shortage(uint64_t source);

  const PressureOptions options_;
  const MaintenanceClock& clock_;
  std::atomic<MemoryPressureLevel> level_{MemoryPressureLevel::kNone};
  PressureCallbacks callbacks_;

  std::mutex mutex_;  // before those of pools and callbacks
  std::vector<Source> sources_;
  uint64_t next_source_ = 1;
  uint64_t highest_ = 0;  // the source that the level is of
  StallWindow stalls_;
};

}  // namespace lobit::detail
