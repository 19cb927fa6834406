// ArenaResource: what StaticArenaResource and BlockPoolResource share. One arena, taken from another resource
// when it is created and given back when it is destroyed; in between nothing is allocated, not even for its
// records, which lie outside the arena: 8 bytes of host memory for each of its units. Freeing takes constant
// time and makes freed neighbours one block again. Allocating takes constant time while a longer block is
// free; when none is, the free blocks of about its length are walked. When none is long enough, an allocation
// is kOutOfMemory with the bytes required and the largest block available.
//
// Thread-safe: a lock around each call. Streams are not looked at: on an accelerator, let one stream use the
// arena or synchronise before freeing. The resource below must outlive it.
#pragma once

#include <memory>

#include "lobit/memory/arena_occupancy.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

namespace detail {
class UnitArena;
}

class LOBIT_API ArenaResource : public MemoryResource {
 public:
  ~ArenaResource() override;

  ArenaOccupancy occupancy() const;

 protected:
  explicit ArenaResource(std::unique_ptr<detail::UnitArena> arena);
  const detail::UnitArena& arena() const { return *arena_; }

 private:
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) final;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) final;
  MemoryUsage do_usage() const final;
  Device do_device() const final;

  std::unique_ptr<detail::UnitArena> arena_;
};

}  // namespace lobit
