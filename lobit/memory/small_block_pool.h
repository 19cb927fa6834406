// SmallBlockPool: blocks below the pool's threshold, and all up to 4 MiB, from caches that each thread has to
// itself. Up to 32 KiB a block is part of a slab of one size class; above, it is a run of pages of its own,
// of which a thread keeps a few. The cost of allocating or freeing does not depend on how many blocks there
// are. All records lie outside the blocks. Any thread may call anything.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "lobit/memory/block_counts.h"
#include "lobit/memory/page_heap.h"
#include "lobit/memory/thread_cache.h"
#include "lobit/memory/thread_states.h"

namespace lobit::detail {

class SmallBlockPool final : private ThreadStates<ThreadCache> {
 public:
  // `heap` and `counts` outlive the pool.
  static Result<std::unique_ptr<SmallBlockPool>> create(VirtualMemory& memory, PageHeap& heap,
                                                        BlockCounts& counts, size_t threshold);
  ~SmallBlockPool() override;

  // Which pool's limit a block counts against. Blocks of size classes always count as small.
  RunKind kind_of(size_t bytes) const {
    return bytes < threshold_ || bytes <= kMaxClassBytes ? RunKind::kSmall : RunKind::kLarge;
  }
  // Whether a block of any `bytes` and `alignment` is a run that caches keep.
  static bool fits_cached_run(size_t bytes, size_t alignment) {
    return bytes - kMaxClassBytes - 1 < kMaxCachedRunBytes - kMaxClassBytes && has_every_run(alignment);
  }

  // `bytes` >= 1 below the threshold or a run that caches keep, `alignment` a power of two. nullptr when
  // there is no memory; then `*shortage` says why.
  void* allocate(size_t bytes, size_t alignment, Shortage* shortage);
  // Where no slab fits: the block is a run of its own, whatever its size.
  void* allocate_alone(size_t bytes, size_t alignment, Shortage* shortage);
  // A run that begins below `block` and needs nothing to be committed, or nullptr. For what lies in no slab.
  void* allocate_below(const void* block, size_t bytes, size_t alignment);
  // Whether a block of that size and alignment lies in a slab; both are valid.
  static bool fits_slab(size_t bytes, size_t alignment);
  FreeResult deallocate(void* pointer, size_t bytes, size_t alignment);

  // The common case of the same at the alignment that every block has, without a lock or a call: nullptr and
  // false when it is not that. They take any `bytes` and any pointer.
  void* allocate_fast(size_t bytes);
  bool deallocate_fast(void* pointer, size_t bytes);
  // Likewise blocks that are runs of up to 4 MiB, whichever side of the threshold they are on, to and from
  // the thread's cache.
  void* allocate_run_fast(size_t bytes, size_t alignment);
  bool deallocate_run_fast(void* pointer, size_t bytes, size_t alignment);

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
  // Gives the runs that the calling thread's cache keeps back to the heap.
  void give_own_runs();
  // False when there may be something to tell. Without a lock or a call.
  bool has_told() const;

  // Makes the counts exact: all caches tell what they have not told yet. Returns the bytes of live blocks, as
  // rounded.
  uint64_t publish_all();
  uint64_t held_bytes() const { return heap_.held_bytes(RunKind::kSlab) + heap_.held_bytes(RunKind::kSmall); }
  size_t metadata_bytes() const { return slabs_.bytes() + caches_.bytes(); }

 private:
  SmallBlockPool(PageHeap& heap, BlockCounts& counts, size_t threshold)
      : heap_(heap), counts_(counts), threshold_(threshold) {}

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
  void publish_much(ThreadCache* cache);
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
  void release_empty(ClassBin& bin);
  void list(ClassBin& bin, Slab& slab);
  void unlist(ClassBin& bin, Slab& slab);
  void release(Slab& slab);
  FreeResult free_block(ThreadCache* cache, Slab& slab, void* pointer, size_t bytes, size_t alignment);
  bool take_back(ClassBin& bin, void* pointer, size_t bytes);
  // The slab that an address lies in; slab 0, which has no blocks, when it lies in none.
  Slab& slab_at(const void* pointer) {
    const size_t offset = size_t{heap_.slab_at(heap_.page_of(pointer))} * alignof(Slab);
    return *reinterpret_cast<Slab*>(reinterpret_cast<std::byte*>(&slabs_[0]) + offset);
  }
  Slab& slab_of(const BlockRef& ref) {
    const auto offset = reinterpret_cast<uintptr_t>(ref.asked) - reinterpret_cast<uintptr_t>(&slabs_[0]);
    return slabs_[offset / sizeof(Slab)];
  }
  // What the map of pages holds for a slab: the offset of its record, in units of the alignment.
  static constexpr uint32_t mark_of(SlabId id) { return id * (sizeof(Slab) / alignof(Slab)); }
  void free_elsewhere(ThreadCache* cache, Slab& slab, uint32_t block);
  void pass_on(ThreadCache* cache);
  void enqueue(Slab& slab);
  void collect(ThreadCache* cache);
  void collect_from(ThreadCache* cache, Slab& slab);

  // Runs.
  void* take_run(ThreadCache* cache, size_t bytes, size_t alignment, Shortage* shortage);
  FreeResult free_run(ThreadCache* cache, RunId id, void* pointer, size_t bytes, size_t alignment);
  void take_more(const PageHeap::Lock& lock, ThreadCache* cache, const Run& run);
  void give_cached_runs(const PageHeap::Lock& lock, ThreadCache* cache);
  RunId take_from_heap(const PageHeap::Lock& lock, ThreadCache* cache, uint32_t pages, uint32_t alignment,
                       RunKind kind);
  // When what the cache keeps was used.
  static Used used(const ThreadCache& cache) { return cache.is_resting() ? Used::kLongAgo : Used::kUntilNow; }

  PageHeap& heap_;
  BlockCounts& counts_;
  const size_t threshold_;

  MetadataArray<Slab> slabs_;  // grown under the heap's lock

  // What changes under the heap's lock, apart from what frees look at.
  alignas(64) SlabId used_slabs_ = 1;
  SlabId unused_slab_ = 0;

  std::mutex caches_mutex_;  // before the heap's lock
  MetadataArray<ThreadCache> caches_;
  size_t used_caches_ = 0;
  size_t most_caches_ = 0;
  ThreadCache* idle_ = nullptr;
  MaintenanceTask* watcher_ = nullptr;
};

[[gnu::always_inline]] inline void* SmallBlockPool::allocate_fast(size_t bytes) {
  const LocalEntry& entry = local_entry();
  if (!is_own(entry) || bytes - 1 >= kMaxClassBytes) [[unlikely]]
    return nullptr;
  ThreadCache* const cache = state_of(entry);
  ClassBin& bin = cache->bin_for(bytes);
  if (!cache->enter() || bin.top == bin.bottom) [[unlikely]] {
    cache->leave();
    return nullptr;
  }
  BlockRef* const ref = bin.top - 1;
  bin.top = ref;
  std::byte* const pointer = ref->pointer;
  ref->asked->store(static_cast<uint16_t>(bytes), std::memory_order_relaxed);
  cache->change.allocated(bytes);
  cache->leave();
  return pointer;
}

[[gnu::always_inline]] inline bool SmallBlockPool::deallocate_fast(void* pointer, size_t bytes) {
  const LocalEntry& entry = local_entry();
  if (!is_own(entry) || bytes - 1 >= kMaxClassBytes) [[unlikely]]
    return false;
  ThreadCache* const cache = state_of(entry);
  // From the size, not through the slab: so the next allocation need not wait for the loads that lead there.
  ClassBin& bin = cache->bin_for(bytes);
  if (!cache->enter() || !take_back(bin, pointer, bytes)) [[unlikely]] {
    cache->leave();
    return false;
  }
  cache->change.freed(bytes);
  cache->leave();
  return true;
}

// False when the block is none of the bin's cache, or the bin is full.
[[gnu::always_inline]] inline bool SmallBlockPool::take_back(ClassBin& bin, void* pointer, size_t bytes) {
  Slab& slab = slab_at(pointer);
  if (slab.bin.load(std::memory_order_relaxed) != &bin) [[unlikely]]
    return false;
  const auto offset = static_cast<uint32_t>(static_cast<std::byte*>(pointer) - slab.start);
  const uint64_t product = uint64_t{offset} * slab.reciprocal;
  std::atomic<uint16_t>& asked = slab.asked[product >> 32];
  BlockRef* const ref = bin.top;
  if (!is_start_of_block(product, slab.reciprocal) || asked.load(std::memory_order_relaxed) != bytes ||
      ref == bin.limit) [[unlikely]] {
    return false;
  }
  asked.store(0, std::memory_order_relaxed);
  bin.top = ref + 1;
  ref->pointer = static_cast<std::byte*>(pointer);
  ref->asked = &asked;
  return true;
}

inline bool SmallBlockPool::has_told() const {
  const LocalEntry& entry = local_entry();
  if (!is_own(entry)) return false;
  ThreadCache* const cache = state_of(entry);
  const bool told = cache->enter() && !cache->change.any();
  cache->leave();
  return told;
}

inline uint32_t pages_of(size_t bytes) {
  return static_cast<uint32_t>((bytes + kPageBytes - 1) / kPageBytes);
}

[[gnu::always_inline]] inline void* SmallBlockPool::allocate_run_fast(size_t bytes, size_t alignment) {
  const LocalEntry& entry = local_entry();
  if (!is_own(entry) || !fits_cached_run(bytes, alignment)) [[unlikely]]
    return nullptr;
  ThreadCache* const cache = state_of(entry);
  RunBin& bin = cache->runs[pages_of(bytes)];
  if (!cache->enter() || bin.count == 0) [[unlikely]] {
    cache->leave();
    return nullptr;
  }
  const RunId id = bin.runs[bin.count - 1];
  if (heap_.run(id).kind != kind_of(bytes)) [[unlikely]] {
    cache->leave();
    return nullptr;
  }
  --bin.count;
  cache->cached_run_pages -= pages_of(bytes);
  cache->change.allocated(bytes);
  void* const pointer = heap_.begin_block(id, bytes, alignment, cache);
  cache->leave();
  return pointer;
}

[[gnu::always_inline]] inline bool SmallBlockPool::deallocate_run_fast(void* pointer, size_t bytes,
                                                                       size_t alignment) {
  const LocalEntry& entry = local_entry();
  if (!is_own(entry) || !fits_cached_run(bytes, alignment)) [[unlikely]]
    return false;
  ThreadCache* const cache = state_of(entry);
  const uint32_t pages = pages_of(bytes);
  RunBin& bin = cache->runs[pages];
  const RunId id = heap_.run_at(heap_.page_of(pointer));
  if (!cache->enter() || bin.count == bin.runs.size() ||
      cache->cached_run_pages + pages > kMaxCachedRunsPages ||
      heap_.end_block(id, pointer, bytes, alignment, cache) != FreeResult::kFreed) [[unlikely]] {
    cache->leave();
    return false;
  }
  cache->keep(bin, id, pages);
  cache->change.freed(bytes);
  cache->leave();
  return true;
}

}  // namespace lobit::detail
