// LargeBlockPool: blocks from the pool's threshold on that no thread's cache keeps, each a run of pages of
// its own: split from a longer run and merged with its neighbours after it was freed, so that no size costs
// more than its last page. Any thread may call anything.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lobit/memory/block_counts.h"
#include "lobit/memory/page_heap.h"

namespace lobit::detail {

class LargeBlockPool {
 public:
  // `heap` and `counts` outlive the pool.
  LargeBlockPool(PageHeap& heap, BlockCounts& counts) : heap_(heap), counts_(counts) {}

  // As SmallBlockPool's.
  void* allocate(size_t bytes, size_t alignment, Growth growth, Shortage* shortage);
  // The common case of the same, without a lock or a call: nullptr when it is not that. Takes any `bytes` and
  // `alignment`.
  void* allocate_fast(size_t bytes, size_t alignment);
  FreeResult deallocate(void* pointer, size_t bytes, size_t alignment);
  // A block that begins below `block` and needs nothing to be committed, or nullptr.
  void* allocate_below(const void* block, size_t bytes, size_t alignment);

 private:
  void keep_instead(RunId id);

  PageHeap& heap_;
  BlockCounts& counts_;
};

[[gnu::always_inline]] inline void* LargeBlockPool::allocate_fast(size_t bytes, size_t alignment) {
  const uint64_t pages = bytes / kPageBytes + (bytes % kPageBytes != 0);
  if (pages > UINT32_MAX || !has_every_run(alignment)) return nullptr;
  const RunId id = heap_.take_kept(static_cast<uint32_t>(pages));
  if (id == 0) return nullptr;
  counts_.add_large(static_cast<int64_t>(bytes));
  return heap_.begin_block(id, bytes, alignment, nullptr);
}

[[gnu::always_inline]] inline FreeResult LargeBlockPool::deallocate(void* pointer, size_t bytes,
                                                                    size_t alignment) {
  const size_t page = heap_.page_of(pointer);
  if (heap_.slab_at(page) != 0) return FreeResult::kWrongSize;
  const RunId id = heap_.run_at(page);
  const FreeResult result = heap_.end_block(id, pointer, bytes, alignment, nullptr);
  if (result != FreeResult::kFreed) return result;
  counts_.add_large(-static_cast<int64_t>(bytes));
  if (!heap_.keep(id)) [[unlikely]]
    keep_instead(id);
  return FreeResult::kFreed;
}

}  // namespace lobit::detail
