// BlockPoolResource: TinyAI's strategy "pooled". An arena cut into blocks of one size; a request takes one
// block, or a run of neighbouring blocks when it is larger. block_size_advice() finds the block size for a
// workload; all else is told at ArenaResource, whose units are the blocks.
#pragma once

#include <memory>

#include "lobit/memory/arena_resource.h"

namespace lobit {

class LOBIT_API BlockPoolResource final : public ArenaResource {
 public:
  // `block_size` (1 byte to 16 MiB) is rounded up to a multiple of 64, `capacity` down to whole blocks, of
  // which there are 1 to 2^30 - 1; kInvalidArgument otherwise, or the error of the resource below.
  static Result<std::unique_ptr<BlockPoolResource>> create(size_t capacity, size_t block_size,
                                                           MemoryResource& upstream);

  size_t block_size() const;  // as it was rounded
  // Whether one block is enough for such a request.
  bool fits_block(size_t bytes, size_t alignment) const;
  // Whether an address lies in the pool, live or not.
  bool contains(const void* pointer) const;

 private:
  using ArenaResource::ArenaResource;
};

}  // namespace lobit
