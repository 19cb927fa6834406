#include "lobit/memory/block_heap_resource.h"

#include "lobit/memory/taken_blocks_internal.h"

namespace lobit {

Result<std::unique_ptr<BlockHeapResource>> BlockHeapResource::create(size_t capacity, size_t block_size,
                                                                     MemoryResource& upstream) {
  LOBIT_TRY(auto pool, BlockPoolResource::create(capacity, block_size, upstream));
  return std::unique_ptr<BlockHeapResource>(new BlockHeapResource(std::move(pool), upstream));
}

BlockHeapResource::BlockHeapResource(std::unique_ptr<BlockPoolResource> pool, MemoryResource& upstream)
    : pool_(std::move(pool)),
      taken_(std::make_unique<detail::TakenBlocks<MemoryResource>>(
          upstream, pool_ == nullptr ? 0 : pool_->usage().committed)) {}

BlockHeapResource::~BlockHeapResource() = default;

Result<void*> BlockHeapResource::do_allocate(size_t bytes, size_t alignment, Stream stream) {
  LOBIT_RETURN_IF_ERROR(check_request(bytes, alignment));
  if (pool_ != nullptr && pool_->fits_block(bytes, alignment)) {
    const std::lock_guard lock(pool_mutex_);
    if (Result<void*> block = pool_->allocate(bytes, alignment, stream); block) {
      taken_->count_allocated(bytes, pool_->block_size());
      return block;
    }
  }
  return taken_->allocate(bytes, alignment, bytes, stream);
}

Status BlockHeapResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  if (pool_ == nullptr || !pool_->contains(pointer)) {
    return taken_->deallocate(pointer, bytes, alignment, stream);
  }
  const std::lock_guard lock(pool_mutex_);
  LOBIT_RETURN_IF_ERROR(pool_->deallocate(pointer, bytes, alignment, stream));
  taken_->count_freed(bytes, pool_->block_size());
  return {};
}

MemoryUsage BlockHeapResource::do_usage() const {
  return taken_->usage();
}

Device BlockHeapResource::do_device() const {
  return taken_->below().device();
}

}  // namespace lobit
