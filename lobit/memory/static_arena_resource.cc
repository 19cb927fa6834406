#include "lobit/memory/static_arena_resource.h"

#include "lobit/memory/unit_arena_internal.h"

namespace lobit {

Result<std::unique_ptr<StaticArenaResource>> StaticArenaResource::create(size_t capacity,
                                                                         MemoryResource& upstream) {
  LOBIT_TRY(auto arena, detail::UnitArena::create("static arena", capacity, kDefaultAlignment, upstream));
  return std::unique_ptr<StaticArenaResource>(new StaticArenaResource(std::move(arena)));
}

}  // namespace lobit
