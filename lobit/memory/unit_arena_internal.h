// UnitArena: one block of another resource, handed out in runs of units. What the strategies static and
// pooled are made of. Takes its memory when it is created and gives it back when it is destroyed; in between
// neither the resource below nor the heap is asked for anything. Thread-safe: a lock around each call.
#pragma once

#include <memory>
#include <mutex>
#include <string_view>

#include "lobit/memory/arena_occupancy.h"
#include "lobit/memory/memory_resource.h"
#include "lobit/memory/run_map_internal.h"
#include "lobit/memory/usage_count_internal.h"

namespace lobit::detail {

class UnitArena {
 public:
  // `capacity` / `unit` units; `unit` is a multiple of kDefaultAlignment up to kMaxUnit. `name` begins the
  // messages and must outlive the arena.
  static constexpr size_t kMaxUnit = size_t{1} << 24;
  static Result<std::unique_ptr<UnitArena>> create(std::string_view name, size_t capacity, size_t unit,
                                                   MemoryResource& upstream);
  ~UnitArena();
  UnitArena(const UnitArena&) = delete;
  UnitArena& operator=(const UnitArena&) = delete;

  Result<void*> allocate(size_t bytes, size_t alignment);
  Status deallocate(void* pointer, size_t bytes, size_t alignment);

  // Whether the address lies in the arena, live or not.
  bool contains(const void* pointer) const;
  size_t unit() const { return unit_; }
  // What every unit is aligned to.
  size_t unit_alignment() const { return unit_alignment_; }
  Device device() const { return upstream_.device(); }
  MemoryUsage usage() const;
  ArenaOccupancy occupancy() const;

 private:
  UnitArena(std::string_view name, size_t capacity, size_t unit, MemoryResource& upstream, std::byte* base,
            RunMap map);
  // `required`: bytes of a free run that would do.
  tl::unexpected<Error> exhausted(size_t bytes, size_t alignment, size_t required) const;

  const std::string_view name_;
  const size_t capacity_;
  const size_t unit_;
  const size_t unit_alignment_;
  MemoryResource& upstream_;
  std::byte* const base_;
  mutable std::mutex mutex_;
  RunMap map_;
  UsageCount count_;
};

}  // namespace lobit::detail
