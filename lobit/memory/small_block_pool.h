// SmallBlockPool: blocks below the pool's threshold, from caches that each thread has to itself. Up to 32 KiB
// a block is part of a slab of one size class; above, it is a run of pages of its own, of which a thread
// keeps a few. The cost of allocating or freeing does not depend on how many blocks there are. All records
// lie outside the blocks. Any thread may call anything.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "lobit/memory/block_counts.h"
#include "lobit/memory/cache_registry.h"
#include "lobit/memory/page_heap.h"
#include "lobit/memory/thread_cache.h"

namespace lobit::detail {

// What a call to deallocate found.
enum class FreeResult : uint8_t {
  kFreed,
  kForeign,    // no block of this pool begins there
  kNotLive,    // the block is free already
  kWrongSize,  // the block was asked for with other bytes or another alignment
};

class SmallBlockPool final : private CacheOwner {
 public:
  // `heap` and `counts` outlive the pool; the pool holds at most `most_bytes` of the heap's pages.
  static Result<std::unique_ptr<SmallBlockPool>> create(VirtualMemory& memory, PageHeap& heap,
                                                        BlockCounts& counts, uint64_t most_bytes);
  ~SmallBlockPool() override;

  // `bytes` >= 1 below the threshold, `alignment` a power of two. nullptr when there is no memory; then
  // `*shortage` says why.
  void* allocate(size_t bytes, size_t alignment, Shortage* shortage);
  FreeResult deallocate(void* pointer, size_t bytes, size_t alignment);

  // Empties all caches, those of other threads included: slabs without live blocks and cached runs go back to
  // the heap. Returns the bytes of their pages.
  uint64_t drain();

  // Makes the counts exact: all caches tell what they have not told yet.
  void publish_all();
  uint64_t held_bytes() const { return held_pages_.load(std::memory_order_relaxed) * kPageBytes; }
  size_t metadata_bytes() const { return slabs_.bytes() + caches_.bytes(); }

 private:
  SmallBlockPool(PageHeap& heap, BlockCounts& counts, uint64_t most_bytes)
      : heap_(heap), counts_(counts), most_pages_(most_bytes / kPageBytes) {}

  static constexpr size_t kMaxCaches = 16384;  // threads that can use the pool at a time

  static uint64_t bit_of(uint32_t block) { return uint64_t{1} << (block % 64); }

  // Caches.
  ThreadCache* enter();
  ThreadCache* enter_slowly();
  ThreadCache* new_cache();
  void leave(ThreadCache* cache);
  void retire(ThreadCache* cache) override;
  void drain_cache(ThreadCache* cache);
  void publish(ThreadCache* cache);
  template <typename Visit>
  void for_each_paused(const Visit& visit);

  // Slabs.
  void* take_block(ThreadCache* cache, size_t class_index, Shortage* shortage);
  bool refill(ThreadCache* cache, size_t class_index, Shortage* shortage);
  Slab* new_slab(ThreadCache* cache, size_t class_index, Shortage* shortage);
  void move_blocks(ThreadCache* cache, Slab& slab);
  void put_back(ThreadCache* cache, ClassBin& bin, uint32_t keep);
  void settle(ThreadCache* cache, Slab& slab);
  void list(ThreadCache* cache, Slab& slab);
  void unlist(ThreadCache* cache, Slab& slab);
  void release(Slab& slab);
  FreeResult free_block(ThreadCache* cache, SlabId id, void* pointer, size_t rounded);
  FreeResult free_elsewhere(ThreadCache* cache, Slab& slab, uint32_t block);
  void pass_on(ThreadCache* cache);
  void enqueue(Slab& slab);
  void collect(ThreadCache* cache);
  void collect_from(ThreadCache* cache, Slab& slab);

  // Runs.
  void* take_run(ThreadCache* cache, size_t bytes, size_t alignment, Shortage* shortage);
  FreeResult free_run(ThreadCache* cache, RunId id, size_t page, void* pointer, size_t bytes,
                      size_t alignment);
  void give_cached_runs(ThreadCache* cache);
  RunId take_pages(const PageHeap::Lock& lock, uint32_t pages, uint32_t alignment, Shortage* shortage);
  void give_pages(const PageHeap::Lock& lock, RunId id);

  PageHeap& heap_;
  BlockCounts& counts_;
  const uint64_t most_pages_;
  std::atomic<uint64_t> held_pages_{0};  // written under the heap's lock

  MetadataArray<Slab> slabs_;  // grown under the heap's lock
  SlabId used_slabs_ = 1;
  SlabId unused_slab_ = 0;

  std::mutex caches_mutex_;  // before the heap's lock
  MetadataArray<ThreadCache> caches_;
  size_t used_caches_ = 0;
  ThreadCache* idle_ = nullptr;
};

}  // namespace lobit::detail
