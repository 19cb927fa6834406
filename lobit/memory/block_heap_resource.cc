#include "lobit/memory/block_heap_resource.h"

#include <algorithm>
#include <new>

#include <fmt/format.h>

namespace lobit {

Result<std::unique_ptr<BlockHeapResource>> BlockHeapResource::create(size_t capacity, size_t block_size,
                                                                     MemoryResource& upstream) {
  LOBIT_TRY(auto blocks, BlockPoolResource::create(capacity, block_size, upstream));
  return std::unique_ptr<BlockHeapResource>(new BlockHeapResource(std::move(blocks), upstream));
}

BlockHeapResource::BlockHeapResource(std::unique_ptr<BlockPoolResource> blocks, MemoryResource& upstream)
    : blocks_(std::move(blocks)), upstream_(upstream) {
  if (blocks_ != nullptr) usage_.committed = blocks_->usage().committed;
  usage_.peak_committed = usage_.committed;
}

BlockHeapResource::~BlockHeapResource() {
  for (const auto& [pointer, block] : heap_blocks_) {
    static_cast<void>(upstream_.deallocate(pointer, block.bytes, block.alignment, block.stream));
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
  return allocate_upstream(bytes, alignment, stream);
}

Result<void*> BlockHeapResource::allocate_upstream(size_t bytes, size_t alignment, Stream stream) {
  LOBIT_TRY(void* pointer, upstream_.allocate(bytes, alignment, stream));
  if (remember_upstream(pointer, {bytes, alignment, stream})) return pointer;
  static_cast<void>(upstream_.deallocate(pointer, bytes, alignment, stream));
  return fail(ErrorCode::kOutOfMemory,
              fmt::format("allocate: no memory to remember a block of {} bytes", bytes),
              {.required = sizeof(HeapBlock)});
}

bool BlockHeapResource::remember_upstream(void* pointer, const HeapBlock& block) {
  const std::lock_guard lock(mutex_);
  try {
    heap_blocks_.emplace(pointer, block);
  } catch (const std::bad_alloc&) {
    return false;
  }
  count_allocation(block.bytes, block.bytes, block.bytes);
  return true;
}

Status BlockHeapResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  if (blocks_ != nullptr && blocks_->contains(pointer)) {
    const std::lock_guard lock(mutex_);
    LOBIT_RETURN_IF_ERROR(blocks_->deallocate(pointer, bytes, alignment, stream));
    count_deallocation(bytes, blocks_->block_size(), 0);
    return {};
  }
  // The record goes before the memory does: another thread may be given the same address at once.
  LOBIT_RETURN_IF_ERROR(forget_upstream(pointer, bytes, alignment));
  return upstream_.deallocate(pointer, bytes, alignment, stream);
}

Status BlockHeapResource::forget_upstream(void* pointer, size_t bytes, size_t alignment) {
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
