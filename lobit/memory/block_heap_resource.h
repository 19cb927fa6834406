// BlockHeapResource: TinyAI's strategy "hybrid". Requests that fit one block of a BlockPoolResource take one
// while there are any; all others go to the resource below, one by one. Without blocks it is the strategy
// "dynamic": every request goes below.
//
// Thread-safe. The resource below is called without a lock held; what was taken from it is remembered, so
// that misuse is refused whatever that resource checks. It must outlive this one.
#pragma once

#include <memory>
#include <mutex>

#include "lobit/memory/block_pool_resource.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

namespace detail {
template <typename Below>
class TakenBlocks;
}

class LOBIT_API BlockHeapResource final : public MemoryResource {
 public:
  // The errors of BlockPoolResource::create.
  static Result<std::unique_ptr<BlockHeapResource>> create(size_t capacity, size_t block_size,
                                                           MemoryResource& upstream);
  // No blocks at all.
  explicit BlockHeapResource(MemoryResource& upstream) : BlockHeapResource(nullptr, upstream) {}
  ~BlockHeapResource() override;

 private:
  BlockHeapResource(std::unique_ptr<BlockPoolResource> pool, MemoryResource& upstream);
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  MemoryUsage do_usage() const override;
  Device do_device() const override;

  std::unique_ptr<BlockPoolResource> pool_;  // nullptr: no blocks
  std::mutex pool_mutex_;                    // a block of the pool is counted before it is handed out again
  std::unique_ptr<detail::TakenBlocks<MemoryResource>> taken_;
};

}  // namespace lobit
