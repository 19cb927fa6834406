// BlockPoolResource: TinyAI's strategy "pooled". One arena cut into blocks of one size; a request takes one
// block, or a run of neighbouring blocks when it is larger. One block costs constant time, and so does a run
// while a longer one is free; when none is, the free runs of about its length are walked.
// block_size_advice() finds the block size for a workload. When no run is long enough, an allocation is
// kOutOfMemory with the bytes required and the largest run available.
//
// Thread-safe: a lock around each call. Streams are not looked at: on an accelerator, let one stream use the
// pool or synchronise before freeing. The resource below must outlive it. Its records (8 bytes of host memory
// for each block) lie outside the arena and are allocated with it.
#pragma once

#include <memory>

#include "lobit/memory/arena_occupancy.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

namespace detail {
class UnitArena;
}

class LOBIT_API BlockPoolResource final : public MemoryResource {
 public:
  // `block_size` (1 byte to 16 MiB) is rounded up to a multiple of 64, `capacity` down to whole blocks, of
  // which there are 1 to 2^30 - 1; kInvalidArgument otherwise, or the error of the resource below.
  static Result<std::unique_ptr<BlockPoolResource>> create(size_t capacity, size_t block_size,
                                                           MemoryResource& upstream);
  ~BlockPoolResource() override;

  size_t block_size() const;  // as it was rounded
  // Whether one block is enough for such a request.
  bool fits_block(size_t bytes, size_t alignment) const;
  // Whether an address lies in the pool, live or not.
  bool contains(const void* pointer) const;
  ArenaOccupancy occupancy() const;

 private:
  explicit BlockPoolResource(std::unique_ptr<detail::UnitArena> arena);
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  MemoryUsage do_usage() const override;
  Device do_device() const override;

  std::unique_ptr<detail::UnitArena> arena_;
};

}  // namespace lobit
