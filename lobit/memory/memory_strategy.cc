#include "lobit/memory/memory_strategy.h"

#include "lobit/memory/block_heap_resource.h"
#include "lobit/memory/block_pool_resource.h"
#include "lobit/memory/static_arena_resource.h"

namespace lobit {

Result<std::unique_ptr<MemoryResource>> make_strategy(MemoryStrategy strategy, const StrategyOptions& options,
                                                      MemoryResource& below) {
  switch (strategy) {
    case MemoryStrategy::kStatic:
      return StaticArenaResource::create(options.initial_pool_size, below);
    case MemoryStrategy::kPooled:
      return BlockPoolResource::create(options.initial_pool_size, options.block_size, below);
    case MemoryStrategy::kDynamic:
      return std::make_unique<BlockHeapResource>(below);
    case MemoryStrategy::kHybrid:
      return BlockHeapResource::create(options.initial_pool_size, options.block_size, below);
  }
  return fail(ErrorCode::kInvalidArgument, "memory strategy: expected static, pooled, dynamic or hybrid");
}

}  // namespace lobit
