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
  void* allocate(size_t bytes, size_t alignment, Shortage* shortage);
  FreeResult deallocate(void* pointer, size_t bytes, size_t alignment);

 private:
  PageHeap& heap_;
  BlockCounts& counts_;
};

}  // namespace lobit::detail
