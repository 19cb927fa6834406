#include "lobit/memory/block_heap_resource.h"

#include <algorithm>

#include <fmt/format.h>

namespace lobit {

Result<std::unique_ptr<BlockHeapResource>> BlockHeapResource::create(size_t capacity, size_t block_size,
                                                                     MemoryResource& below) {
  LOBIT_TRY(auto blocks, BlockPoolResource::create(capacity, block_size, below));
  return std::unique_ptr<BlockHeapResource>(new BlockHeapResource(std::move(blocks), below));
}

BlockHeapResource::BlockHeapResource(std::unique_ptr<BlockPoolResource> blocks, MemoryResource& below)
    : blocks_(std::move(blocks)), below_(below) {
  if (blocks_ != nullptr) usage_.committed = blocks_->usage().committed;
  usage_.peak_committed = usage_.committed;
}

BlockHeapResource::~BlockHeapResource() {
  for (const auto& [pointer, block] : heap_blocks_) {
    static_cast<void>(below_.deallocate(pointer, block.bytes, block.alignment, block.stream));
  }
}

Result<void*> BlockHeapResource::do_allocate(size_t bytes, size_t alignment, Stream stream) {
  LOBIT_RETURN_IF_ERROR(check_request(bytes, alignment));
  if (blocks_ != nullptr && blocks_->fits_block(bytes, alignment)) {
    const std::lock_guard lock(mutex_);
    if (Result<void*> block = blocks_->allocate(bytes, alignment, stream); block) {
      count_allocation(bytes, blocks_->block_size(), 0);
      return block;
    }
  }
  return allocate_below(bytes, alignment, stream);
}

Result<void*> BlockHeapResource::allocate_below(size_t bytes, size_t alignment, Stream stream) {
  LOBIT_TRY(void* pointer, below_.allocate(bytes, alignment, stream));
  const auto give_back = [&](void* block) {
    static_cast<void>(below_.deallocate(block, bytes, alignment, stream));
  };
  // Given back when there is no room for the record.
  std::unique_ptr<void, decltype(give_back)> block(pointer, give_back);
  const std::lock_guard lock(mutex_);
  heap_blocks_.emplace(pointer, HeapBlock{bytes, alignment, stream});
  count_allocation(bytes, bytes, bytes);
  return block.release();
}

Status BlockHeapResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  if (blocks_ != nullptr && blocks_->contains(pointer)) {
    const std::lock_guard lock(mutex_);
    LOBIT_RETURN_IF_ERROR(blocks_->deallocate(pointer, bytes, alignment, stream));
    count_deallocation(bytes, blocks_->block_size(), 0);
    return {};
  }
  // The record goes before the memory does: another thread may be given the same address at once.
  LOBIT_RETURN_IF_ERROR(forget_below(pointer, bytes, alignment));
  return below_.deallocate(pointer, bytes, alignment, stream);
}

Status BlockHeapResource::forget_below(void* pointer, size_t bytes, size_t alignment) {
  const std::lock_guard lock(mutex_);
  const auto found = heap_blocks_.find(pointer);
  if (found == heap_blocks_.end()) {
    return fail(ErrorCode::kInvalidArgument, "deallocate: no live block of this resource begins there");
  }
  const HeapBlock& block = found->second;
  if (block.bytes != bytes || block.alignment != alignment) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("deallocate: {} bytes aligned to {}, but the block has {} aligned to {}", bytes,
                            alignment, block.bytes, block.alignment));
  }
  heap_blocks_.erase(found);
  count_deallocation(bytes, bytes, bytes);
  return {};
}

void BlockHeapResource::count_allocation(size_t bytes, size_t reserved, size_t committed) {
  usage_.allocated += bytes;
  usage_.used += reserved;
  usage_.committed += committed;
  usage_.peak_allocated = std::max(usage_.peak_allocated, usage_.allocated);
  usage_.peak_committed = std::max(usage_.peak_committed, usage_.committed);
  ++usage_.allocations;
}

void BlockHeapResource::count_deallocation(size_t bytes, size_t reserved, size_t committed) {
  usage_.allocated -= bytes;
  usage_.used -= reserved;
  usage_.committed -= committed;
  ++usage_.deallocations;
}

MemoryUsage BlockHeapResource::do_usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

}  // namespace lobit
