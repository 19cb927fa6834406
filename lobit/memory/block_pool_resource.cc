#include "lobit/memory/block_pool_resource.h"

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/memory/unit_arena_internal.h"

namespace lobit {

Result<std::unique_ptr<BlockPoolResource>> BlockPoolResource::create(size_t capacity, size_t block_size,
                                                                     MemoryResource& upstream) {
  if (block_size == 0 || block_size > detail::UnitArena::kMaxUnit) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("block pool: blocks of {} bytes, expected 1 to {}",
                                                         block_size, detail::UnitArena::kMaxUnit));
  }
  const size_t unit = checked_round_up(block_size, kDefaultAlignment).value();
  LOBIT_TRY(auto arena, detail::UnitArena::create("block pool", capacity, unit, upstream));
  return std::unique_ptr<BlockPoolResource>(new BlockPoolResource(std::move(arena)));
}

size_t BlockPoolResource::block_size() const {
  return arena().unit();
}
bool BlockPoolResource::fits_block(size_t bytes, size_t alignment) const {
  return bytes <= arena().unit() && alignment <= arena().unit_alignment();
}
bool BlockPoolResource::contains(const void* pointer) const {
  return arena().contains(pointer);
}

}  // namespace lobit
