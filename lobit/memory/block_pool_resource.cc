#include "lobit/memory/block_pool_resource.h"

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/memory/unit_arena_internal.h"

namespace lobit {

Result<std::unique_ptr<BlockPoolResource>> BlockPoolResource::create(size_t capacity, size_t block_size,
                                                                     MemoryResource& below) {
  if (block_size == 0 || block_size > detail::UnitArena::kMaxUnit) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("block pool: blocks of {} bytes, expected 1 to {}",
                                                         block_size, detail::UnitArena::kMaxUnit));
  }
  const size_t unit = checked_round_up(block_size, kDefaultAlignment).value();
  LOBIT_TRY(auto arena, detail::UnitArena::create("block pool", capacity, unit, below));
  return std::unique_ptr<BlockPoolResource>(new BlockPoolResource(std::move(arena)));
}

BlockPoolResource::BlockPoolResource(std::unique_ptr<detail::UnitArena> arena) : arena_(std::move(arena)) {}
BlockPoolResource::~BlockPoolResource() = default;

size_t BlockPoolResource::block_size() const {
  return arena_->unit();
}
bool BlockPoolResource::fits_block(size_t bytes, size_t alignment) const {
  return bytes <= arena_->unit() && alignment <= arena_->unit_alignment();
}
bool BlockPoolResource::contains(const void* pointer) const {
  return arena_->contains(pointer);
}
ArenaOccupancy BlockPoolResource::occupancy() const {
  return arena_->occupancy();
}
Result<void*> BlockPoolResource::do_allocate(size_t bytes, size_t alignment, Stream /*stream*/) {
  return arena_->allocate(bytes, alignment);
}
Status BlockPoolResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream /*stream*/) {
  return arena_->deallocate(pointer, bytes, alignment);
}
MemoryUsage BlockPoolResource::do_usage() const {
  return arena_->usage();
}
Device BlockPoolResource::do_device() const {
  return arena_->device();
}

}  // namespace lobit
