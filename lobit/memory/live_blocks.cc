#include "lobit/memory/live_blocks.h"

#include <algorithm>
#include <new>

#include <fmt/format.h>

namespace lobit::detail {

Result<uint64_t> LiveBlocks::add(void* pointer, size_t bytes, size_t alignment, size_t rounded) {
  const uint64_t number = usage_.allocations + 1;
  try {
    blocks_.emplace(pointer, Block{bytes, alignment, rounded, number});
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kOutOfMemory,
                fmt::format("allocate: no memory to remember a block of {} bytes", bytes),
                {.required = sizeof(Block)});
  }
  usage_.allocations = number;
  usage_.allocated += bytes;
  usage_.used += rounded;
  usage_.committed = usage_.used;
  usage_.peak_allocated = std::max(usage_.peak_allocated, usage_.allocated);
  usage_.peak_committed = std::max(usage_.peak_committed, usage_.committed);
  return number;
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
  usage_.allocated -= block.bytes;
  usage_.used -= block.rounded;
  usage_.committed = usage_.used;
  ++usage_.deallocations;
  return block;
}

}  // namespace lobit::detail
