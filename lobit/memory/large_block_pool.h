// LargeBlockPool: blocks from the pool's threshold on, each a run of pages of its own: split from a longer
// run and merged with its neighbours when it is freed, so that no size costs more than its last page. Any
// thread may call anything.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lobit/memory/block_counts.h"
#include "lobit/memory/page_heap.h"

namespace lobit::detail {

class LargeBlockPool {
 public:
  // `heap` and `counts` outlive the pool; the pool holds at most `most_bytes` of the heap's pages.
  LargeBlockPool(PageHeap& heap, BlockCounts& counts, uint64_t most_bytes)
      : heap_(heap),
        counts_(counts),
        most_pages_(most_bytes == UINT64_MAX ? most_bytes : most_bytes / kPageBytes) {}

  // As SmallBlockPool's.
  void* allocate(size_t bytes, size_t alignment, Shortage* shortage);
  FreeResult deallocate(void* pointer, size_t bytes, size_t alignment);

  // Bytes of live blocks, as rounded.
  uint64_t held_bytes() const { return held_pages_.load(std::memory_order_relaxed) * kPageBytes; }

 private:
  PageHeap& heap_;
  BlockCounts& counts_;
  const uint64_t most_pages_;
  std::atomic<uint64_t> held_pages_{0};  // written under the heap's lock
};

}  // namespace lobit::detail
