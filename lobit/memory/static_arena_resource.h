// StaticArenaResource: TinyAI's strategy "static". One arena, taken from another resource when it is created
// and given back when it is destroyed; in between nothing is allocated, not even for its records (8 bytes of
// host memory for each 64 bytes of the arena, touched only where blocks begin and end). Freeing
// takes constant time and makes freed neighbours one block again. Allocating takes constant time while a
// longer block is free; when none is, the free blocks of about its length are walked. When the arena is full,
// an allocation is kOutOfMemory with the bytes required and the largest block available.
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

class LOBIT_API StaticArenaResource final : public MemoryResource {
 public:
  // `capacity` is rounded down to a multiple of 64 and may be anything up to 64 GiB; kInvalidArgument
  // otherwise, or the error of the resource below.
  static Result<std::unique_ptr<StaticArenaResource>> create(size_t capacity, MemoryResource& upstream);
  ~StaticArenaResource() override;

  ArenaOccupancy occupancy() const;

 private:
  explicit StaticArenaResource(std::unique_ptr<detail::UnitArena> arena);
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  MemoryUsage do_usage() const override;
  Device do_device() const override;

  std::unique_ptr<detail::UnitArena> arena_;
};

}  // namespace lobit
