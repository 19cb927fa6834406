#include "lobit/memory/memory_strategy.h"

#include "lobit/memory/block_heap_resource.h"
#include "lobit/memory/block_pool_resource.h"
#include "lobit/memory/static_arena_resource.h"

namespace lobit {

Result<std::unique_ptr<MemoryResource>> make_strategy(MemoryStrategy strategy, const StrategyOptions& options,
                                                      MemoryResource& upstream) {
  switch (strategy) {
    case MemoryStrategy::kStatic:
      return StaticArenaResource::create(options.initial_pool_size, upstream);
    case MemoryStrategy::kPooled:
      return BlockPoolResource::create(options.initial_pool_size, options.block_size, upstream);
    case MemoryStrategy::kDynamic:
      return std::make_unique<BlockHeapResource>(upstream);
    case MemoryStrategy::kHybrid:
      return BlockHeapResource::create(options.initial_pool_size, options.block_size, upstream);
  }
  return fail(ErrorCode::kInvalidArgument, "memory strategy: expected static, pooled, dynamic or hybrid");
}

}  // namespace lobit
