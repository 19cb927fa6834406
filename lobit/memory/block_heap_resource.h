// BlockHeapResource: TinyAI's strategy "hybrid". Requests that fit one block of a BlockPoolResource take one
// while there are any; all others go to the resource below, one by one. Without blocks it is the strategy
// "dynamic": every request goes below.
//
// Thread-safe. The resource below is called without a lock held; what was taken from it is remembered, so
// that misuse is refused whatever that resource checks. It must outlive this one.
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>

#include "lobit/memory/block_pool_resource.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

class LOBIT_API BlockHeapResource final : public MemoryResource {
 public:
  // The errors of BlockPoolResource::create.
  static Result<std::unique_ptr<BlockHeapResource>> create(size_t capacity, size_t block_size,
                                                           MemoryResource& upstream);
  // No blocks at all.
  explicit BlockHeapResource(MemoryResource& upstream) : BlockHeapResource(nullptr, upstream) {}
  ~BlockHeapResource() override;

 private:
  struct HeapBlock {
    size_t bytes;
    size_t alignment;
    Stream stream;
  };

  BlockHeapResource(std::unique_ptr<BlockPoolResource> blocks, MemoryResource& upstream);
  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  MemoryUsage do_usage() const override;
  Device do_device() const override { return upstream_.device(); }

  Result<void*> allocate_upstream(size_t bytes, size_t alignment, Stream stream);
  // False, without effect, when there is no room for the record.
  bool remember_upstream(void* pointer, const HeapBlock& block);
  Status forget_upstream(void* pointer, size_t bytes, size_t alignment);
  void count_allocation(size_t bytes, size_t reserved, size_t committed);
  void count_deallocation(size_t bytes, size_t reserved, size_t committed);

  std::unique_ptr<BlockPoolResource> blocks_;  // nullptr: none
  MemoryResource& upstream_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, HeapBlock> heap_blocks_;
  MemoryUsage usage_;
};

}  // namespace lobit
