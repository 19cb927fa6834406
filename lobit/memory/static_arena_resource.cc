#include "lobit/memory/static_arena_resource.h"

#include "lobit/memory/unit_arena_internal.h"

namespace lobit {

Result<std::unique_ptr<StaticArenaResource>> StaticArenaResource::create(size_t capacity,
                                                                         MemoryResource& below) {
  LOBIT_TRY(auto arena, detail::UnitArena::create("static arena", capacity, kDefaultAlignment, below));
  return std::unique_ptr<StaticArenaResource>(new StaticArenaResource(std::move(arena)));
}

StaticArenaResource::StaticArenaResource(std::unique_ptr<detail::UnitArena> arena)
    : arena_(std::move(arena)) {}
StaticArenaResource::~StaticArenaResource() = default;

ArenaOccupancy StaticArenaResource::occupancy() const {
  return arena_->occupancy();
}
Result<void*> StaticArenaResource::do_allocate(size_t bytes, size_t alignment, Stream /*stream*/) {
  return arena_->allocate(bytes, alignment);
}
Status StaticArenaResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream /*stream*/) {
  return arena_->deallocate(pointer, bytes, alignment);
}
MemoryUsage StaticArenaResource::do_usage() const {
  return arena_->usage();
}
Device StaticArenaResource::do_device() const {
  return arena_->device();
}

}  // namespace lobit
