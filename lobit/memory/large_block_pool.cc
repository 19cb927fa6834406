#include "lobit/memory/large_block_pool.h"

#include <algorithm>

namespace lobit::detail {

void* LargeBlockPool::allocate(size_t bytes, size_t alignment, Shortage* shortage) {
  const uint64_t pages = bytes / kPageBytes + (bytes % kPageBytes != 0);
  const auto aligned = static_cast<uint32_t>(std::max<size_t>(1, alignment / kPageBytes));
  const PageHeap::Lock lock = heap_.lock();
  if (pages > most_pages_ - held_pages_) {
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
  held_pages_ += pages;
  const auto asked = static_cast<int64_t>(bytes);
  counts_.add({.bytes = asked,
               .most_bytes = asked,
               .used = static_cast<int64_t>(pages * kPageBytes),
               .allocations = 1});
  return heap_.address(run.first);
}

FreeResult LargeBlockPool::deallocate(void* pointer, size_t bytes, size_t alignment) {
  const size_t page = heap_.page_of(pointer);
  const PageHeap::Lock lock = heap_.lock();
  const PageHeap::PageEntry entry = heap_.entry(page);
  if (entry.value == 0) return FreeResult::kForeign;
  if (entry.is_slab()) return FreeResult::kWrongSize;
  Run& run = heap_.run(entry.run());
  if (run.first != page || heap_.address(run.first) != pointer) return FreeResult::kForeign;
  if (!run.live.load(std::memory_order_relaxed)) return FreeResult::kNotLive;
  if (!run.large || run.bytes != bytes || run.alignment != alignment) return FreeResult::kWrongSize;
  run.live.store(false, std::memory_order_relaxed);
  held_pages_ -= run.pages;
  counts_.add({.bytes = -static_cast<int64_t>(bytes),
               .used = -static_cast<int64_t>(uint64_t{run.pages} * kPageBytes),
               .deallocations = 1});
  heap_.give(lock, entry.run());
  return FreeResult::kFreed;
}

}  // namespace lobit::detail
