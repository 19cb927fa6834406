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
  Run& run = heap_.run(id);
  run.bytes = bytes;
  run.alignment = alignment;
  run.large = true;
  run.live.store(true, std::memory_order_relaxed);
  held_pages_.store(held + pages, std::memory_order_relaxed);
  counts_.add_large(static_cast<int64_t>(bytes));
  return heap_.address(run.first);
}

FreeResult LargeBlockPool::deallocate(void* pointer, size_t bytes, size_t alignment) {
  const size_t page = heap_.page_of(pointer);
  const PageHeap::Lock lock = heap_.lock();
  if (heap_.slab_at(page) != 0) return FreeResult::kWrongSize;
  const RunId id = heap_.run_at(page);
  Run& run = heap_.run(id);
  if (id == 0 || run.first != page || heap_.address(run.first) != pointer) return FreeResult::kForeign;
  if (!run.live.load(std::memory_order_relaxed)) return FreeResult::kNotLive;
  if (!run.large || run.bytes != bytes || run.alignment != alignment) return FreeResult::kWrongSize;
  run.live.store(false, std::memory_order_relaxed);
  held_pages_.store(held_pages_.load(std::memory_order_relaxed) - run.pages, std::memory_order_relaxed);
  counts_.add_large(-static_cast<int64_t>(bytes));
  heap_.give(lock, id);
  return FreeResult::kFreed;
}

}  // namespace lobit::detail
