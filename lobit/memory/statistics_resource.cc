#include "lobit/memory/statistics_resource.h"

#include "lobit/memory/doublings_internal.h"

namespace lobit {

void StatisticsResource::Level::add(uint64_t amount) {
  const uint64_t level = now.fetch_add(amount, std::memory_order_relaxed) + amount;
  uint64_t highest = peak.load(std::memory_order_relaxed);
  while (level > highest && !peak.compare_exchange_weak(highest, level, std::memory_order_relaxed)) {
  }
}

Result<void*> StatisticsResource::do_allocate(size_t bytes, size_t alignment, Stream stream) {
  Result<void*> block = upstream().allocate(bytes, alignment, stream);
  if (!block) {
    refused_allocations_.fetch_add(1, std::memory_order_relaxed);
    return block;
  }
  bytes_.add(bytes);
  blocks_.add(1);
  allocated_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  sizes_[detail::doubling_of(bytes)].fetch_add(1, std::memory_order_relaxed);
  return block;
}

Status StatisticsResource::do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) {
  // Counted last: what the resource below refuses must not show, not even for a moment in which another
  // thread allocates. To callers a block may be live until this call returns.
  Status freed = upstream().deallocate(pointer, bytes, alignment, stream);
  if (!freed) {
    refused_deallocations_.fetch_add(1, std::memory_order_relaxed);
    return freed;
  }
  bytes_.subtract(bytes);
  blocks_.subtract(1);
  return freed;
}

AllocationStatistics StatisticsResource::statistics() const {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  AllocationStatistics result{.live_bytes = bytes_.now.load(kRelaxed),
                              .live_blocks = blocks_.now.load(kRelaxed),
                              .peak_bytes = bytes_.peak.load(kRelaxed),
                              .peak_blocks = blocks_.peak.load(kRelaxed),
                              .allocated_bytes = allocated_bytes_.load(kRelaxed),
                              .refused_allocations = refused_allocations_.load(kRelaxed),
                              .refused_deallocations = refused_deallocations_.load(kRelaxed)};
  for (size_t i = 0; i < sizes_.size(); ++i) {
    result.sizes[i] = sizes_[i].load(kRelaxed);
    result.allocations += result.sizes[i];
  }
  result.deallocations = result.allocations - result.live_blocks;
  return result;
}

}  // namespace lobit
