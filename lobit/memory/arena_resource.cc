#include "lobit/memory/arena_resource.h"

#include "lobit/memory/unit_arena_internal.h"

namespace lobit {

ArenaResource::ArenaResource(std::unique_ptr<detail::UnitArena> arena) : arena_(std::move(arena)) {}
ArenaResource::~ArenaResource() = default;

ArenaOccupancy ArenaResource::occupancy() const {
  return arena_->occupancy();
}
Result<void*> ArenaResource::do_allocate(size_t bytes, size_t alignment, Stream /*stream*/) {
  return arena_->allocate(bytes, alignment);
}
Status ArenaResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream /*stream*/) {
  return arena_->deallocate(pointer, bytes, alignment);
}
MemoryUsage ArenaResource::do_usage() const {
  return arena_->usage();
}
Device ArenaResource::do_device() const {
  return arena_->device();
}

}  // namespace lobit
