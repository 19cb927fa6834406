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

  // The common case of the same, without a lock or a call: nullptr and false when it is not that. They take
  // any arguments.
  void* allocate_fast(size_t bytes, size_t alignment);
  bool deallocate_fast(void* pointer, size_t bytes, size_t alignment);

  // Empties all caches, those of other threads included: slabs without live blocks and cached runs go back to
  // the heap. Returns the bytes of their pages.
  uint64_t drain();

  // Empties the caches whose threads have not used them since the last call. Whether another call may find
  // more, though nobody stirs `watcher`: it is stirred when a thread uses its cache for the first time after
  // a call.
  bool drain_resting();
  void watch(MaintenanceTask* watcher);

  // Tells the counts what the calling thread's cache has not told yet.
  void publish_own();

  // Makes the counts exact: all caches tell what they have not told yet. Returns the bytes of live blocks, as
  // rounded.
  uint64_t publish_all();
  uint64_t held_bytes() const { return held_pages_.load(std::memory_order_relaxed) * kPageBytes; }
  size_t metadata_bytes() const { return slabs_.bytes() + caches_.bytes(); }

 private:
  SmallBlockPool(PageHeap& heap, BlockCounts& counts, uint64_t most_bytes)
      : heap_(heap),
        counts_(counts),
        most_pages_(most_bytes == UINT64_MAX ? most_bytes : most_bytes / kPageBytes) {}

  // Threads that can use a pool at a time.
  static constexpr size_t kLeastCaches = 64;
  static constexpr size_t kMostCaches = 16384;

  static constexpr uint64_t bit_of(uint32_t block) { return uint64_t{1} << (block % 64); }

  // Caches.
  // The calling thread's cache while it is worked on; no cache when the system refuses memory for a new one.
  // A thread that is ending borrows one for the call.
  class Entry {
   public:
    explicit Entry(SmallBlockPool& pool);
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry();
    ThreadCache* cache() const { return cache_; }

   private:
    SmallBlockPool& pool_;
    ThreadCache* cache_;
    bool borrowed_ = false;
  };
  ThreadCache* new_cache();
  void retire(ThreadCache* cache) override;
  void drain_cache(ThreadCache* cache);
  void rouse(ThreadCache* cache);
  void publish(ThreadCache* cache);
  int64_t used_bytes(const ThreadCache& cache) const;
  template <typename Visit>
  void for_each_paused(const Visit& visit);

  // Slabs.
  void* take_block(ThreadCache* cache, size_t bytes, size_t class_index, Shortage* shortage);
  bool refill(ThreadCache* cache, size_t class_index, Shortage* shortage);
  Slab* new_slab(ThreadCache* cache, size_t class_index, Shortage* shortage);
  void move_blocks(ClassBin& bin, Slab& slab, uint32_t wanted);
  void put_back(ClassBin& bin, uint32_t keep);
  void settle(ClassBin& bin, Slab& slab);
  void list(ClassBin& bin, Slab& slab);
  void unlist(ClassBin& bin, Slab& slab);
  void release(Slab& slab);
  FreeResult free_block(ThreadCache* cache, Slab& slab, void* pointer, size_t bytes, size_t alignment);
  // The slab that an address lies in, or nullptr.
  Slab* slab_of(const void* pointer) {
    const uint32_t slab = heap_.slab_at(heap_.page_of(pointer));
    return slab != 0 ? &slabs_[slab] : nullptr;
  }
  void free_elsewhere(ThreadCache* cache, Slab& slab, uint32_t block);
  void pass_on(ThreadCache* cache);
  void enqueue(Slab& slab);
  void collect(ThreadCache* cache);
  void collect_from(ThreadCache* cache, Slab& slab);

  // Runs. The first two are the common case: nullptr and false when it is not that.
  void* take_cached_run(size_t bytes, size_t alignment);
  bool keep_run(void* pointer, size_t bytes, size_t alignment);
  void* take_run(ThreadCache* cache, size_t bytes, size_t alignment, Shortage* shortage);
  FreeResult free_run(ThreadCache* cache, RunId id, void* pointer, size_t bytes, size_t alignment);
  void give_cached_runs(ThreadCache* cache);
  RunId take_pages(const PageHeap::Lock& lock, uint32_t pages, uint32_t alignment, Shortage* shortage);
  void give_pages(const PageHeap::Lock& lock, RunId id, Used used);
  void give_run(const PageHeap::Lock& lock, RunId id, Used used);
  // When what the cache keeps was used.
  static Used used(const ThreadCache& cache) { return cache.is_resting() ? Used::kLongAgo : Used::kUntilNow; }

  PageHeap& heap_;
  BlockCounts& counts_;
  const uint64_t most_pages_;
  // Written under the heap's lock.
  std::atomic<uint64_t> held_pages_{0};
  std::atomic<uint64_t> run_pages_{0};  // of them, in runs that are blocks, live or cached

  MetadataArray<Slab> slabs_;  // grown under the heap's lock
  SlabId used_slabs_ = 1;
  SlabId unused_slab_ = 0;

  std::mutex caches_mutex_;  // before the heap's lock
  MetadataArray<ThreadCache> caches_;
  size_t used_caches_ = 0;
  size_t most_caches_ = 0;
  ThreadCache* idle_ = nullptr;
  MaintenanceTask* watcher_ = nullptr;
};

// Whether it is a block of a class whose alignment every block has: one comparison for both, and one that the
// alignment is a power of two.
inline bool fits_class(size_t bytes, size_t alignment) {
  constexpr size_t kScale = kMaxClassBytes / kClassAlignment;
  return ((bytes - 1) | ((alignment - 1) * kScale)) < kMaxClassBytes && (alignment & (alignment - 1)) == 0;
}

[[gnu::always_inline]] inline void* SmallBlockPool::allocate_fast(size_t bytes, size_t alignment) {
  ThreadCache* cache = local();
  if (!fits_class(bytes, alignment) || cache == nullptr) [[unlikely]]
    return nullptr;
  ClassBin& bin = cache->classes[size_class_of(bytes)];
  if (!cache->enter() || bin.top == bin.bottom) [[unlikely]] {
    cache->leave();
    return nullptr;
  }
  const BlockRef& ref = *--bin.top;
  std::byte* pointer = ref.pointer;
  ref.asked->store(static_cast<uint16_t>(bytes), std::memory_order_relaxed);
  cache->change.allocated(bytes);
  cache->leave();
  return pointer;
}

// The bin is found from the size, not through the slab: so the next allocation need not wait for the loads
// that lead to the slab.
[[gnu::always_inline]] inline bool SmallBlockPool::deallocate_fast(void* pointer, size_t bytes,
                                                                   size_t alignment) {
  ThreadCache* cache = local();
  if (cache == nullptr || !fits_class(bytes, alignment)) [[unlikely]]
    return false;
  const size_t class_index = size_class_of(bytes);
  ClassBin& bin = cache->classes[class_index];
  bool freed = false;
  if (cache->enter()) [[likely]] {
    // Looked up inside, where nobody takes this thread's slabs away. Slab 0 belongs to no cache.
    Slab& slab = slabs_[heap_.slab_at(heap_.page_of(pointer))];
    if (slab.owner.load(std::memory_order_relaxed) == cache && slab.size_class == class_index) [[likely]] {
      const auto offset = static_cast<uint32_t>(static_cast<std::byte*>(pointer) - slab.start);
      const uint64_t product = uint64_t{offset} * slab.reciprocal;
      std::atomic<uint16_t>& asked = slab.asked[product >> 32];
      if (is_start_of_block(product, slab.reciprocal) && asked.load(std::memory_order_relaxed) == bytes &&
          bin.top != bin.limit) [[likely]] {
        asked.store(0, std::memory_order_relaxed);
        BlockRef* const ref = bin.top;
        bin.top = ref + 1;
        ref->pointer = static_cast<std::byte*>(pointer);
        ref->asked = &asked;
        cache->change.freed(bytes);
        freed = true;
      }
    }
  }
  cache->leave();
  return freed;
}

}  // namespace lobit::detail
