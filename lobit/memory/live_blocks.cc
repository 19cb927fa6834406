#include <new>

#include <fmt/format.h>

#include "lobit/memory/live_blocks_internal.h"

namespace lobit::detail {

Result<LiveBlocks::Block> LiveBlocks::add(void* pointer, size_t bytes, size_t alignment, size_t rounded,
                                          Stream stream) {
  const Block block{bytes, alignment, rounded, stream, last_number_ + 1, current_memory_tag()};
  try {
    blocks_.emplace(pointer, block);
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("allocate: no memory to remember a block of {} bytes", bytes),
                {.required = sizeof(Block)});
  }
  last_number_ = block.number;
  count_.allocated(bytes, rounded, rounded);
  return block;
}

Result<LiveBlocks::Block> LiveBlocks::remove(void* pointer, size_t bytes, size_t alignment) {
  const auto found = blocks_.find(pointer);
  if (found == blocks_.end()) {
    return fail(ErrorCode::kInvalidArgument, "deallocate: no live block of this resource begins there");
  }
  const Block block = found->second;
  if (block.bytes != bytes || block.alignment != alignment) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("deallocate: {} bytes aligned to {}, but the block has {} aligned to {}", bytes,
                            alignment, block.bytes, block.alignment));
  }
  blocks_.erase(found);
  count_.freed(block.bytes, block.rounded, block.rounded);
  return block;
}

void LiveBlocks::restore(void* pointer, const Block& block) {
  try {
    blocks_.emplace(pointer, block);
  } catch (const std::bad_alloc&) {
    return;  // as good as freed: nobody can name it any more
  }
  count_.not_freed(block.bytes, block.rounded, block.rounded);
}

}  // namespace lobit::detail
