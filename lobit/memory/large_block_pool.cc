#include "lobit/memory/large_block_pool.h"

#include <algorithm>

namespace lobit::detail {

void* LargeBlockPool::allocate(size_t bytes, size_t alignment, Shortage* shortage) {
  const uint64_t pages = bytes / kPageBytes + (bytes % kPageBytes != 0);
  const auto aligned = static_cast<uint32_t>(std::max<size_t>(1, alignment / kPageBytes));
  const PageHeap::Lock lock = heap_.lock();
  const uint64_t held = held_pages_.load(std::memory_order_relaxed);
  if (pages > most_pages_ - held) {
    *shortage = Shortage::kPoolLimit;
    return nullptr;
  }
  const RunId id = pages > UINT32_MAX ? 0 : heap_.take(lock, static_cast<uint32_t>(pages), aligned);
  if (id == 0) {
    *shortage = pages > UINT32_MAX ? Shortage::kAddressSpace : heap_.shortage();
    return nullptr;
  }
  held_pages_.store(held + pages, std::memory_order_relaxed);
  counts_.add_large(static_cast<int64_t>(bytes));
  return heap_.begin_block(id, bytes, alignment, true);
}

FreeResult LargeBlockPool::deallocate(void* pointer, size_t bytes, size_t alignment) {
  const size_t page = heap_.page_of(pointer);
  const PageHeap::Lock lock = heap_.lock();
  if (heap_.slab_at(page) != 0) return FreeResult::kWrongSize;
  const RunId id = heap_.run_at(page);
  const FreeResult result = heap_.end_block(id, pointer, bytes, alignment, true);
  if (result != FreeResult::kFreed) return result;
  held_pages_.store(held_pages_.load(std::memory_order_relaxed) - heap_.run(id).pages,
                    std::memory_order_relaxed);
  counts_.add_large(-static_cast<int64_t>(bytes));
  heap_.give(lock, id);
  return FreeResult::kFreed;
}

}  // namespace lobit::detail
