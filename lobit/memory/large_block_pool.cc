#include "lobit/memory/large_block_pool.h"

#include <algorithm>

namespace lobit::detail {

void* LargeBlockPool::allocate(size_t bytes, size_t alignment, Shortage* shortage) {
  const uint64_t wanted = bytes / kPageBytes + (bytes % kPageBytes != 0);
  if (wanted > UINT32_MAX) {
    *shortage = Shortage::kAddressSpace;
    return nullptr;
  }
  const auto pages = static_cast<uint32_t>(wanted);
  const auto aligned = static_cast<uint32_t>(std::max<size_t>(1, alignment / kPageBytes));
  RunId id = aligned == 1 ? heap_.take_kept(pages) : 0;
  if (id == 0) {
    const PageHeap::Lock lock = heap_.lock();
    id = heap_.take(lock, pages, aligned, RunKind::kLarge);
    if (id == 0) {
      *shortage = heap_.shortage();
      return nullptr;
    }
  }
  counts_.add_large(static_cast<int64_t>(bytes));
  return heap_.begin_block(id, bytes, alignment, nullptr);
}

FreeResult LargeBlockPool::deallocate(void* pointer, size_t bytes, size_t alignment) {
  const size_t page = heap_.page_of(pointer);
  if (heap_.slab_at(page) != 0) return FreeResult::kWrongSize;
  const RunId id = heap_.run_at(page);
  const FreeResult result = heap_.end_block(id, pointer, bytes, alignment, nullptr);
  if (result != FreeResult::kFreed) return result;
  counts_.add_large(-static_cast<int64_t>(bytes));
  if (!heap_.keep(id)) heap_.keep_instead(heap_.lock(), id);
  return FreeResult::kFreed;
}

}  // namespace lobit::detail
