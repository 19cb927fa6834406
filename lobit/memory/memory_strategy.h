// TinyAI's four memory strategies by name. Each is a MemoryResource like any other, so that a program chooses
// one by a setting and wrappers (tracking, limits, statistics) work on all of them.
#pragma once

#include <memory>

#include "lobit/memory/memory_resource.h"

namespace lobit {

enum class MemoryStrategy : uint8_t {
  kStatic,   // StaticArenaResource: one arena, nothing is allocated later
  kPooled,   // BlockPoolResource: the same, in blocks of one size
  kDynamic,  // BlockHeapResource without blocks: each request goes to the resource below
  kHybrid,   // BlockHeapResource: blocks for what fits one, the resource below for the rest
};

struct StrategyOptions {
  // Bytes of the arena or of all blocks, taken at once. kDynamic takes nothing ahead.
  size_t initial_pool_size = size_t{1} << 20;
  // Bytes of a block of kPooled and kHybrid. Requests that fit one cost least; the rest of the block is lost.
  size_t block_size = 4096;
};

// Stands on `below`, which must outlive it. The errors of the strategy's own create().
LOBIT_API Result<std::unique_ptr<MemoryResource>> make_strategy(MemoryStrategy strategy,
                                                                const StrategyOptions& options,
                                                                MemoryResource& below);

}  // namespace lobit
