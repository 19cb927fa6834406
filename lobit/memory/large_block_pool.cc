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
  RunId id = heap_.take_kept(pages, aligned, RunKind::kLarge);
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
  const FreeResult result = heap_.end_block(heap_.run_at(page), pointer, bytes, alignment, nullptr);
  if (result != FreeResult::kFreed) return result;
  counts_.add_large(-static_cast<int64_t>(bytes));
  if (const RunId displaced = heap_.keep(heap_.run_at(page)); displaced != 0) {
    heap_.give(heap_.lock(), displaced);
  }
  return FreeResult::kFreed;
}

}  // namespace lobit::detail
