#include "lobit/memory/small_block_pool.h"

#include <algorithm>
#include <bit>

#include "lobit/base/check.h"

namespace lobit::detail {
namespace {

uint32_t pages_of(size_t bytes) {
  return static_cast<uint32_t>((bytes + kPageBytes - 1) / kPageBytes);
}

// What decides the class. No slab keeps an alignment above a page's.
size_t rounded_up(size_t bytes, size_t alignment) {
  return alignment <= kPageBytes ? (bytes + alignment - 1) & ~(alignment - 1) : kMaxClassBytes + 1;
}

}  // namespace

Result<std::unique_ptr<SmallBlockPool>> SmallBlockPool::create(VirtualMemory& memory, PageHeap& heap,
                                                               BlockCounts& counts, uint64_t most_bytes) {
  std::unique_ptr<SmallBlockPool> pool(new SmallBlockPool(heap, counts, most_bytes));
  // No slab is shorter than a page.
  LOBIT_RETURN_IF_ERROR(pool->slabs_.reserve(memory, heap.options().reserve_bytes / kPageBytes / 2 + 2));
  LOBIT_RETURN_IF_ERROR(pool->caches_.reserve(memory, kMaxCaches));
  if (!pool->slabs_.ensure(1)) {
    return fail(ErrorCode::kOutOfMemory, "pool: the system refused memory for the records of slabs");
  }
  return pool;
}

SmallBlockPool::~SmallBlockPool() {
  leave_registry();
}

// ---- The fast paths.

inline ThreadCache* SmallBlockPool::enter() {
  ThreadCache* cache = local();
  if (cache != nullptr && cache->enter()) [[likely]]
    return cache;
  return enter_slowly();
}

void* SmallBlockPool::allocate(size_t bytes, size_t alignment, Shortage* shortage) {
  ThreadCache* cache = enter();
  if (cache == nullptr) [[unlikely]] {
    *shortage = Shortage::kSystem;
    return nullptr;
  }
  const size_t rounded = rounded_up(bytes, alignment);
  void* pointer = nullptr;
  if (rounded <= kMaxClassBytes) [[likely]] {
    const size_t class_index = size_class_of(rounded);
    pointer = take_block(cache, class_index, shortage);
    cache->change.used += pointer != nullptr ? kSizeClasses[class_index].bytes : 0;
  } else {
    pointer = take_run(cache, bytes, alignment, shortage);
  }
  if (pointer != nullptr) [[likely]] {
    cache->change.bytes += static_cast<int64_t>(bytes);
    cache->change.most_bytes = std::max(cache->change.most_bytes, cache->change.bytes);
    ++cache->change.allocations;
  }
  leave(cache);
  return pointer;
}

inline void* SmallBlockPool::take_block(ThreadCache* cache, size_t class_index, Shortage* shortage) {
  ClassBin& bin = cache->classes[class_index];
  if (bin.count == 0 && !refill(cache, class_index, shortage)) [[unlikely]]
    return nullptr;
  const BlockRef ref = bin.blocks[--bin.count];
  Slab& slab = slabs_[ref.slab];
  std::atomic<uint64_t>& live = slab.live[ref.block / 64];
  live.store(live.load(std::memory_order_relaxed) | bit_of(ref.block), std::memory_order_relaxed);
  return slab.start + size_t{ref.block} * kSizeClasses[class_index].bytes;
}

FreeResult SmallBlockPool::deallocate(void* pointer, size_t bytes, size_t alignment) {
  const size_t page = heap_.page_of(pointer);
  const PageHeap::PageEntry entry = heap_.entry(page);
  if (entry.value == 0) [[unlikely]]
    return FreeResult::kForeign;
  ThreadCache* cache = enter();
  if (cache == nullptr) [[unlikely]]
    return FreeResult::kForeign;
  const size_t rounded = rounded_up(bytes, alignment);
  const FreeResult result = entry.is_slab() ? free_block(cache, entry.slab(), pointer, rounded)
                                            : free_run(cache, entry.run(), page, pointer, bytes, alignment);
  if (result == FreeResult::kFreed) [[likely]] {
    cache->change.bytes -= static_cast<int64_t>(bytes);
    ++cache->change.deallocations;
  }
  leave(cache);
  return result;
}

inline FreeResult SmallBlockPool::free_block(ThreadCache* cache, SlabId id, void* pointer, size_t rounded) {
  Slab& slab = slabs_[id];
  if (rounded > kMaxClassBytes) [[unlikely]]
    return FreeResult::kWrongSize;
  const size_t class_index = size_class_of(rounded);
  if (slab.size_class != class_index) [[unlikely]]
    return FreeResult::kWrongSize;
  const SizeClass& size_class = kSizeClasses[class_index];
  const auto offset = static_cast<uint32_t>(static_cast<std::byte*>(pointer) - slab.start);
  const uint32_t block = block_at(size_class, offset);
  if (block * size_class.bytes != offset) [[unlikely]]
    return FreeResult::kForeign;
  if (slab.owner.load(std::memory_order_relaxed) != cache) [[unlikely]] {
    const FreeResult result = free_elsewhere(cache, slab, block);
    if (result == FreeResult::kFreed) cache->change.used -= size_class.bytes;
    return result;
  }
  std::atomic<uint64_t>& live = slab.live[block / 64];
  const uint64_t bits = live.load(std::memory_order_relaxed);
  // A block that another thread freed is not live either, though its bit stays until it is collected.
  if ((bits & bit_of(block)) == 0 ||
      (slab.returned[block / 64].load(std::memory_order_relaxed) & bit_of(block)) != 0) [[unlikely]] {
    return FreeResult::kNotLive;
  }
  live.store(bits & ~bit_of(block), std::memory_order_relaxed);
  cache->change.used -= size_class.bytes;
  ClassBin& bin = cache->classes[class_index];
  if (bin.count == size_class.cached) [[unlikely]]
    put_back(cache, bin, size_class.cached / 2);
  bin.blocks[bin.count++] = {id, block};
  return FreeResult::kFreed;
}

inline void SmallBlockPool::leave(ThreadCache* cache) {
  cache->leave();
}

// ---- Slabs.

// Half of what the bin may hold, so that the next frees find room.
bool SmallBlockPool::refill(ThreadCache* cache, size_t class_index, Shortage* shortage) {
  publish(cache);
  ClassBin& bin = cache->classes[class_index];
  if (bin.partial == 0) collect(cache);
  if (bin.partial == 0 && new_slab(cache, class_index, shortage) == nullptr) return false;
  const uint32_t wanted = std::max<uint32_t>(1, kSizeClasses[class_index].cached / 2);
  while (bin.count < wanted && bin.partial != 0) move_blocks(cache, slabs_[bin.partial]);
  return true;
}

// From the slab's free blocks to the bin, the lowest on top.
void SmallBlockPool::move_blocks(ThreadCache* cache, Slab& slab) {
  ClassBin& bin = cache->classes[slab.size_class];
  const SizeClass& size_class = kSizeClasses[slab.size_class];
  const uint32_t wanted = std::max<uint32_t>(1, size_class.cached / 2);
  uint32_t word = 0;
  const uint32_t first = bin.count;
  while (bin.count < wanted && slab.out < size_class.blocks) {
    while (slab.free[word] == 0) ++word;
    const auto block = word * 64 + static_cast<uint32_t>(std::countr_zero(slab.free[word]));
    slab.free[word] &= slab.free[word] - 1;
    ++slab.out;
    bin.blocks[bin.count++] = {slab.id, block};
  }
  std::reverse(bin.blocks.begin() + first, bin.blocks.begin() + bin.count);
  if (slab.out == size_class.blocks) unlist(cache, slab);
}

// The oldest blocks of a bin, all but `keep`, go back to their slabs.
void SmallBlockPool::put_back(ThreadCache* cache, ClassBin& bin, uint32_t keep) {
  const uint32_t gone = bin.count - keep;
  for (uint32_t i = 0; i < gone; ++i) {
    const BlockRef ref = bin.blocks[i];
    Slab& slab = slabs_[ref.slab];
    slab.free[ref.block / 64] |= bit_of(ref.block);
    --slab.out;
    settle(cache, slab);
  }
  std::copy(bin.blocks.begin() + gone, bin.blocks.begin() + bin.count, bin.blocks.begin());
  bin.count = keep;
}

// After blocks came back: an empty slab leaves, another is listed.
void SmallBlockPool::settle(ThreadCache* cache, Slab& slab) {
  if (!slab.listed) list(cache, slab);
  if (slab.out != 0) return;
  unlist(cache, slab);
  release(slab);
}

void SmallBlockPool::list(ThreadCache* cache, Slab& slab) {
  SlabId& head = cache->classes[slab.size_class].partial;
  slab.previous = 0;
  slab.next = head;
  if (head != 0) slabs_[head].previous = slab.id;
  head = slab.id;
  slab.listed = true;
}

void SmallBlockPool::unlist(ThreadCache* cache, Slab& slab) {
  if (slab.next != 0) slabs_[slab.next].previous = slab.previous;
  if (slab.previous != 0) {
    slabs_[slab.previous].next = slab.next;
  } else {
    cache->classes[slab.size_class].partial = slab.next;
  }
  slab.listed = false;
}

Slab* SmallBlockPool::new_slab(ThreadCache* cache, size_t class_index, Shortage* shortage) {
  const SizeClass& size_class = kSizeClasses[class_index];
  const PageHeap::Lock lock = heap_.lock();
  if (unused_slab_ == 0 && !slabs_.ensure(size_t{used_slabs_} + 1)) {
    *shortage = Shortage::kSystem;
    return nullptr;
  }
  const RunId run = take_pages(lock, size_class.pages, 1, shortage);
  if (run == 0) return nullptr;
  SlabId id = unused_slab_;
  if (id != 0) {
    unused_slab_ = slabs_[id].next;
  } else {
    id = used_slabs_++;
  }
  Slab& slab = slabs_[id];
  slab.start = heap_.address(heap_.run(run).first);
  slab.run = run;
  slab.id = id;
  slab.size_class = static_cast<uint8_t>(class_index);
  slab.out = 0;
  for (uint32_t word = 0; word < slab.free.size(); ++word) {
    const uint32_t blocks = size_class.blocks > word * 64 ? size_class.blocks - word * 64 : 0;
    slab.free[word] = blocks >= 64 ? ~uint64_t{0} : (uint64_t{1} << blocks) - 1;
    slab.live[word].store(0, std::memory_order_relaxed);
  }
  slab.owner.store(cache, std::memory_order_release);
  heap_.set_slab(lock, run, id);
  list(cache, slab);
  return &slab;
}

void SmallBlockPool::release(Slab& slab) {
  const PageHeap::Lock lock = heap_.lock();
  slab.owner.store(nullptr, std::memory_order_release);
  heap_.clear_slab(lock, slab.run);
  give_pages(lock, slab.run);
  slab.next = unused_slab_;
  unused_slab_ = slab.id;
}

// ---- Blocks of other threads.

FreeResult SmallBlockPool::free_elsewhere(ThreadCache* cache, Slab& slab, uint32_t block) {
  const uint32_t word = block / 64;
  const uint64_t bit = bit_of(block);
  if ((slab.live[word].load(std::memory_order_relaxed) & bit) == 0 ||
      (slab.returned[word].load(std::memory_order_relaxed) & bit) != 0) {
    return FreeResult::kNotLive;
  }
  PendingReturn& pending = cache->pending;
  if (pending.slab != &slab || pending.word != word) {
    pass_on(cache);
    pending = {&slab, word, 0};
  }
  if ((pending.mask & bit) != 0) return FreeResult::kNotLive;
  pending.mask |= bit;
  return FreeResult::kFreed;
}

// Tells the owner about the blocks that were gathered.
void SmallBlockPool::pass_on(ThreadCache* cache) {
  const PendingReturn pending = cache->pending;
  cache->pending = {};
  if (pending.slab == nullptr) return;
  pending.slab->returned[pending.word].fetch_or(pending.mask, std::memory_order_acq_rel);
  if (!pending.slab->queued.exchange(true, std::memory_order_acq_rel)) enqueue(*pending.slab);
}

void SmallBlockPool::enqueue(Slab& slab) {
  ThreadCache* owner = slab.owner.load(std::memory_order_acquire);
  SlabId head = owner->returned.load(std::memory_order_relaxed);
  do {
    slab.next_queued.store(head, std::memory_order_relaxed);
  } while (!owner->returned.compare_exchange_weak(head, slab.id, std::memory_order_acq_rel));
}

// Takes in what other threads freed.
void SmallBlockPool::collect(ThreadCache* cache) {
  SlabId id = cache->returned.exchange(0, std::memory_order_acquire);
  while (id != 0) {
    Slab& slab = slabs_[id];
    id = slab.next_queued.load(std::memory_order_relaxed);
    slab.queued.exchange(false, std::memory_order_acq_rel);
    ThreadCache* owner = slab.owner.load(std::memory_order_acquire);
    if (owner == cache) {
      collect_from(cache, slab);
    } else if (owner != nullptr && !slab.queued.exchange(true, std::memory_order_acq_rel)) {
      // The record was released and belongs to another cache now, whose owner must hear of what came in
      // while the record stood in this queue.
      enqueue(slab);
    }
  }
}

void SmallBlockPool::collect_from(ThreadCache* cache, Slab& slab) {
  bool any = false;
  for (size_t word = 0; word < slab.free.size(); ++word) {
    const uint64_t live = slab.live[word].load(std::memory_order_relaxed);
    // Two threads that free one block at the same time set one bit: it counts once.
    const uint64_t bits = slab.returned[word].exchange(0, std::memory_order_acq_rel) & live;
    slab.live[word].store(live & ~bits, std::memory_order_relaxed);
    slab.free[word] |= bits;
    slab.out = static_cast<uint16_t>(slab.out - std::popcount(bits));
    any |= bits != 0;
  }
  if (any) settle(cache, slab);
}

// ---- Runs.

void* SmallBlockPool::take_run(ThreadCache* cache, size_t bytes, size_t alignment, Shortage* shortage) {
  const uint32_t pages = pages_of(bytes);
  RunId id = 0;
  if (pages <= kMaxCachedRunPages && alignment <= kPageBytes && cache->runs[pages].count != 0) {
    RunBin& bin = cache->runs[pages];
    id = bin.runs[--bin.count];
    cache->cached_run_bytes -= uint64_t{pages} * kPageBytes;
  } else {
    publish(cache);
    const PageHeap::Lock lock = heap_.lock();
    id = take_pages(lock, pages, std::max<uint32_t>(1, static_cast<uint32_t>(alignment / kPageBytes)),
                    shortage);
    if (id == 0) return nullptr;
    heap_.run(id).large = false;
  }
  Run& run = heap_.run(id);
  run.bytes = bytes;
  run.alignment = alignment;
  run.live.store(true, std::memory_order_relaxed);
  cache->change.used += static_cast<int64_t>(uint64_t{pages} * kPageBytes);
  return heap_.address(run.first);
}

FreeResult SmallBlockPool::free_run(ThreadCache* cache, RunId id, size_t page, void* pointer, size_t bytes,
                                    size_t alignment) {
  Run& run = heap_.run(id);
  if (run.first != page || heap_.address(run.first) != pointer) return FreeResult::kForeign;
  if (!run.live.load(std::memory_order_relaxed)) return FreeResult::kNotLive;
  if (run.large || run.bytes != bytes || run.alignment != alignment) return FreeResult::kWrongSize;
  run.live.store(false, std::memory_order_relaxed);
  const uint64_t run_bytes = uint64_t{run.pages} * kPageBytes;
  cache->change.used -= static_cast<int64_t>(run_bytes);
  if (run.pages <= kMaxCachedRunPages) {
    if (cache->cached_run_bytes + run_bytes > kMaxCachedRunBytes) give_cached_runs(cache);
    RunBin& bin = cache->runs[run.pages];
    if (bin.count < bin.runs.size()) {
      bin.runs[bin.count++] = id;
      cache->cached_run_bytes += run_bytes;
      return FreeResult::kFreed;
    }
  }
  publish(cache);
  const PageHeap::Lock lock = heap_.lock();
  give_pages(lock, id);
  return FreeResult::kFreed;
}

void SmallBlockPool::give_cached_runs(ThreadCache* cache) {
  if (cache->cached_run_bytes == 0) return;
  const PageHeap::Lock lock = heap_.lock();
  for (RunBin& bin : cache->runs) {
    while (bin.count != 0) give_pages(lock, bin.runs[--bin.count]);
  }
  cache->cached_run_bytes = 0;
}

RunId SmallBlockPool::take_pages(const PageHeap::Lock& lock, uint32_t pages, uint32_t alignment,
                                 Shortage* shortage) {
  const uint64_t held = held_pages_.load(std::memory_order_relaxed);
  if (pages > most_pages_ - held) {
    *shortage = Shortage::kPoolLimit;
    return 0;
  }
  const RunId id = heap_.take(lock, pages, alignment);
  if (id == 0) {
    *shortage = heap_.shortage();
    return 0;
  }
  held_pages_.store(held + pages, std::memory_order_relaxed);
  return id;
}

void SmallBlockPool::give_pages(const PageHeap::Lock& lock, RunId id) {
  held_pages_.store(held_pages_.load(std::memory_order_relaxed) - heap_.run(id).pages,
                    std::memory_order_relaxed);
  heap_.give(lock, id);
}

}  // namespace lobit::detail
