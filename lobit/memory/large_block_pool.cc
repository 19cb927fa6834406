#include "lobit/memory/large_block_pool.h"

#include <algorithm>

namespace lobit::detail {

void* LargeBlockPool::allocate(size_t bytes, size_t alignment, Growth growth, Shortage* shortage) {
  const uint64_t wanted = bytes / kPageBytes + (bytes % kPageBytes != 0);
  if (wanted > UINT32_MAX) {
    *shortage = Shortage::kAddressSpace;
    return nullptr;
  }
  const auto aligned = static_cast<uint32_t>(std::max<size_t>(1, alignment / kPageBytes));
  const PageHeap::Lock lock = heap_.lock();
  const RunId id = heap_.take(lock, static_cast<uint32_t>(wanted), aligned, RunKind::kLarge, growth);
  if (id == 0) {
    *shortage = heap_.shortage();
    return nullptr;
  }
  counts_.add_large(static_cast<int64_t>(bytes));
  return heap_.begin_block(id, bytes, alignment, nullptr);
}

void* LargeBlockPool::allocate_below(const void* block, size_t bytes, size_t alignment) {
  const uint64_t wanted = bytes / kPageBytes + (bytes % kPageBytes != 0);
  if (wanted > UINT32_MAX) return nullptr;
  const auto aligned = static_cast<uint32_t>(std::max<size_t>(1, alignment / kPageBytes));
  const PageHeap::Lock lock = heap_.lock();
  const RunId id =
      heap_.take_below(lock, heap_.page_of(block), static_cast<uint32_t>(wanted), aligned, RunKind::kLarge);
  if (id == 0) return nullptr;
  counts_.add_large(static_cast<int64_t>(bytes));
  return heap_.begin_block(id, bytes, alignment, nullptr);
}

void LargeBlockPool::keep_instead(RunId id) {
  heap_.keep_instead(heap_.lock(), id);
}

}  // namespace lobit::detail
