#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/device/cgroup.h"
#include "lobit/memory/pressure_state_internal.h"

namespace lobit::detail {
namespace {

// What the pool may hold in all: its own limit, or those of its two parts together.
uint64_t limit_of(const MemoryPoolOptions& options) {
  return std::min(options.limit, checked_add(options.small.max, options.large.max).value_or(kNoLimit));
}

double share_of(const CgroupGroup& group) {
  const auto used = static_cast<double>(*group.in_use());
  return *group.limit != 0 ? used / static_cast<double>(*group.limit) : std::numeric_limits<double>::max();
}

}  // namespace

PressureState::PressureState(PressureOptions options, const MaintenanceClock& clock)
    : options_(std::move(options)), clock_(clock) {
  if (options_.container == PressureWatch::kOn) {
    sources_.push_back({.reading = {.source = PressureSource::kContainer}, .id = next_source_++});
  }
  if (options_.stalls == PressureWatch::kOn) {
    sources_.push_back({.reading = {.source = PressureSource::kStall}, .id = next_source_++});
  }
}

// ---- Pools.

Status PressureState::watch(HybridMemoryPool& pool, std::string name) {
  return add({.reading = {.name = std::move(name), .limit = limit_of(pool.options())},
              .resource = &pool,
              .pool = &pool});
}

Status PressureState::watch(const MemoryResource& resource, uint64_t limit, std::string name) {
  if (limit == 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("pressure: {}: expected a limit of at least 1 byte, found 0", name),
                {.available = 0});
  }
  return add({.reading = {.name = std::move(name), .limit = limit}, .resource = &resource});
}

Status PressureState::add(Source source) {
  const Lock lock(mutex_);
  if (find(*source.resource) != nullptr) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("pressure: {}: expected a resource that is not watched, found one that is",
                            source.reading.name));
  }
  source.id = next_source_++;
  sources_.reserve(sources_.size() + 1);
  if (HybridMemoryPool* const pool = source.pool; pool != nullptr) {
    // Weakly: the pool may outlive the monitor, and call it while it goes.
    source.reclaimer =
        pool->add_reclaimer({.priority = std::numeric_limits<int>::min(),
                             .reclaim = [self = weak_from_this(), pool](const OutOfMemory& what) {
                               if (const std::shared_ptr<PressureState> state = self.lock())
                                 state->relieve(*pool, what);
                             }});
  }
  sources_.push_back(std::move(source));
  return {};
}

void PressureState::stop_watching(Source& source) {
  if (source.pool != nullptr) source.pool->remove_reclaimer(source.reclaimer);
  source.reading.level = MemoryPressureLevel::kNone;
}

void PressureState::unwatch(const MemoryResource& resource) {
  {
    const Lock lock(mutex_);
    Source* const source = find(resource);
    if (source == nullptr) return;
    stop_watching(*source);
    settle();  // while it is there to be the cause
    sources_.erase(sources_.begin() + (source - sources_.data()));
  }
  callbacks_.deliver();
}

void PressureState::close() {
  {
    const Lock lock(mutex_);
    for (Source& source : sources_) stop_watching(source);
    sources_.clear();
  }
  callbacks_.close();
}

PressureState::Source* PressureState::find(const MemoryResource& resource) {
  const auto found = std::ranges::find(sources_, &resource, &Source::resource);
  return found != sources_.end() ? &*found : nullptr;
}

PressureState::Source* PressureState::find(uint64_t id) {
  const auto found = std::ranges::find(sources_, id, &Source::id);
  return found != sources_.end() ? &*found : nullptr;
}

// ---- Looking.

PressureStatus PressureState::check() {
  PressureStatus status;
  {
    const Lock lock(mutex_);
    measure_all();
    settle();
    status.level = level_.load(std::memory_order_relaxed);
    for (const Source& source : sources_) status.sources.push_back(source.reading);
  }
  callbacks_.deliver();
  return status;
}

void PressureState::measure_all() {
  Result<CgroupMemory> memory = CgroupMemory();
  if (options_.container == PressureWatch::kOn || options_.stalls == PressureWatch::kOn) {
    memory = read_cgroup_memory(options_.root);
  }
  for (Source& source : sources_) {
    switch (source.reading.source) {
      case PressureSource::kPool:
        measure_pool(source);
        break;
      case PressureSource::kContainer:
        measure_container(source.reading, memory);
        break;
      case PressureSource::kStall:
        measure_stall(source.reading, memory);
        break;
    }
  }
}

void PressureState::measure_pool(Source& source) const {
  if (source.shortages != 0) return;
  PressureReading& reading = source.reading;
  reading.used = source.pool != nullptr ? source.pool->held_bytes() : source.resource->usage().used;
  reading.level = level_of_use(options_.thresholds, reading.used, reading.limit, reading.level);
}

// The group that is nearest to its limit; several are one source.
void PressureState::measure_container(PressureReading& reading, const Result<CgroupMemory>& memory) const {
  const MemoryPressureLevel before = reading.level;
  reading = {.source = PressureSource::kContainer};
  if (!memory) {
    reading.error = memory.error();
    return;
  }
  const CgroupGroup* fullest = nullptr;
  for (const CgroupGroup& group : memory->groups) {
    if (!group.limit || !group.in_use()) continue;
    if (fullest == nullptr || share_of(group) > share_of(*fullest)) fullest = &group;
  }
  if (fullest == nullptr) return;
  reading.name = fullest->path.native();
  reading.used = *fullest->in_use();
  reading.limit = *fullest->limit;
  reading.level = level_of_use(options_.thresholds, reading.used, reading.limit, before);
}

// Without the groups, the whole system's stalls are still known.
void PressureState::measure_stall(PressureReading& reading, const Result<CgroupMemory>& memory) {
  const MemoryPressureLevel before = reading.level;
  reading = {.source = PressureSource::kStall};
  const auto stall = read_memory_stall(memory ? *memory : CgroupMemory(), options_.root);
  if (!stall) {
    reading.error = stall.error();
    return;
  }
  if (!stall->has_value()) return;
  reading.name = (*stall)->path.native();
  const StallWindow::Shares shares = stalls_.add(clock_.now(), **stall);
  reading.some_stalled = shares.some;
  reading.full_stalled = shares.full;
  reading.level = level_of_stall(shares.some, shares.full, before);
}

// Posts the change from the level that was posted last to the highest of all sources, the first of several.
void PressureState::settle() {
  const auto top = std::ranges::max_element(sources_, {}, [](const Source& s) { return s.reading.level; });
  const bool is_any = top != sources_.end();
  const MemoryPressureLevel from = level_.load(std::memory_order_relaxed);
  const MemoryPressureLevel to = is_any ? top->reading.level : MemoryPressureLevel::kNone;
  const Source* const was = find(highest_);
  if (to != from) {
    const Source* const cause = to < from && was != nullptr ? was : is_any ? &*top : nullptr;
    callbacks_.post({from, to, cause != nullptr ? cause->reading : PressureReading()});
    level_.store(to, std::memory_order_relaxed);
  } else if (was != nullptr && was->reading.level == to) {
    return;  // it is still the level of the same source, though perhaps of others too
  }
  highest_ = is_any ? top->id : 0;
}

// ---- A pool that is short.

// On the allocating thread; the pool tries again afterwards. Where another thread is calling the callbacks
// already, what they free is waited for.
void PressureState::relieve(const HybridMemoryPool& pool, const OutOfMemory& what) {
  const uint64_t source = begin_shortage(pool, what);
  if (source == 0) return;
  callbacks_.deliver_and_wait();
  end_shortage(source);
}

// What it was before, the end of another shortage for instance, is told first, so that this one is told too.
uint64_t PressureState::begin_shortage(const HybridMemoryPool& pool, const OutOfMemory& what) {
  const Lock lock(mutex_);
  Source* const source = find(pool);
  if (source == nullptr) return 0;                   // the pool was not watched any more when it called
  if (what.bytes > source->reading.limit) return 0;  // nobody can free that much
  measure_pool(*source);
  settle();
  PressureReading& reading = source->reading;
  reading.used = checked_add<uint64_t>(pool.held_bytes(), what.bytes).value_or(kNoLimit);
  reading.level = MemoryPressureLevel::kCritical;
  settle();
  ++source->shortages;
  return source->id;
}

void PressureState::end_shortage(uint64_t source) {
  const Lock lock(mutex_);
  Source* const found = find(source);
  if (found != nullptr) --found->shortages;
}

}  // namespace lobit::detail
