#include "lobit/memory/small_block_pool.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "lobit/base/check.h"

namespace lobit::detail {
namespace {

size_t rounded_up(size_t bytes, size_t alignment) {
  return (bytes + alignment - 1) & ~(alignment - 1);
}

// Whether a slab serves a size that was rounded up. No slab keeps more than a page's alignment.
bool is_class(size_t rounded, size_t alignment) {
  return rounded - 1 < kMaxClassBytes && alignment <= kPageBytes;
}

}  // namespace

Result<std::unique_ptr<SmallBlockPool>> SmallBlockPool::create(VirtualMemory& memory, PageHeap& heap,
                                                               BlockCounts& counts, size_t threshold) {
  std::unique_ptr<SmallBlockPool> pool(new SmallBlockPool(heap, counts, threshold));
  // No slab is shorter than a page.
  LOBIT_RETURN_IF_ERROR(pool->slabs_.reserve(memory, heap.options().reserve_bytes / kPageBytes / 2 + 2));
  // As many threads as can be of use with so much memory.
  pool->most_caches_ = std::clamp<size_t>(heap.options().reserve_bytes >> 20, kLeastCaches, kMostCaches);
  LOBIT_RETURN_IF_ERROR(pool->caches_.reserve(memory, pool->most_caches_));
  if (!pool->slabs_.ensure(1)) {
    return fail(ErrorCode::kOutOfMemory, "pool: the system refused memory for the records of slabs");
  }
  return pool;
}

SmallBlockPool::~SmallBlockPool() {
  leave_registry();
}

void* SmallBlockPool::allocate(size_t bytes, size_t alignment, Shortage* shortage) {
  const Entry entry(*this);
  ThreadCache* cache = entry.cache();
  if (cache == nullptr) {
    *shortage = Shortage::kSystem;
    return nullptr;
  }
  const size_t rounded = rounded_up(bytes, alignment);
  void* pointer = is_class(rounded, alignment) ? take_block(cache, bytes, size_class_of(rounded), shortage)
                                               : take_run(cache, bytes, alignment, shortage);
  if (pointer != nullptr) cache->change.allocated(bytes);
  return pointer;
}

void* SmallBlockPool::allocate_alone(size_t bytes, size_t alignment, Shortage* shortage) {
  const Entry entry(*this);
  if (entry.cache() == nullptr) {
    *shortage = Shortage::kSystem;
    return nullptr;
  }
  void* pointer = take_run(entry.cache(), bytes, alignment, shortage);
  if (pointer != nullptr) entry.cache()->change.allocated(bytes);
  return pointer;
}

bool SmallBlockPool::fits_slab(size_t bytes, size_t alignment) {
  return is_class(rounded_up(bytes, alignment), alignment);
}

// The thread's own runs are given to the heap before: they may be what is wanted, or join with it.
void* SmallBlockPool::allocate_below(const void* block, size_t bytes, size_t alignment) {
  const Entry entry(*this);
  ThreadCache* const cache = entry.cache();
  if (cache == nullptr) return nullptr;
  publish_much(cache);
  const auto aligned = static_cast<uint32_t>(std::max<size_t>(1, alignment / kPageBytes));
  const PageHeap::Lock lock = heap_.lock();
  if (cache->cached_run_pages != 0) give_cached_runs(lock, cache);
  const RunId id = heap_.take_below(lock, heap_.page_of(block), pages_of(bytes), aligned, kind_of(bytes));
  if (id == 0) return nullptr;
  cache->change.allocated(bytes);
  return heap_.begin_block(id, bytes, alignment, cache);
}

FreeResult SmallBlockPool::deallocate(void* pointer, size_t bytes, size_t alignment) {
  const Entry entry(*this);
  ThreadCache* cache = entry.cache();
  if (cache == nullptr) return FreeResult::kNoCache;
  // Looked up inside: nobody takes this thread's slabs away meanwhile.
  Slab& slab = slab_at(pointer);
  const bool in_slab = &slab != &slabs_[0];
  const RunId run = in_slab ? 0 : heap_.run_at(heap_.page_of(pointer));
  if (!in_slab && run == 0) return FreeResult::kForeign;
  const FreeResult result = in_slab ? free_block(cache, slab, pointer, bytes, alignment)
                                    : free_run(cache, run, pointer, bytes, alignment);
  if (result == FreeResult::kFreed) cache->change.freed(bytes);
  return result;
}

// ---- Slabs.

void* SmallBlockPool::take_block(ThreadCache* cache, size_t bytes, size_t class_index, Shortage* shortage) {
  ClassBin& bin = cache->classes[class_index];
  if (bin.top == bin.bottom && !refill(cache, class_index, shortage)) return nullptr;
  const BlockRef& ref = *--bin.top;
  ref.asked->store(static_cast<uint16_t>(bytes), std::memory_order_relaxed);
  return ref.pointer;
}

FreeResult SmallBlockPool::free_block(ThreadCache* cache, Slab& slab, void* pointer, size_t bytes,
                                      size_t alignment) {
  const size_t rounded = rounded_up(bytes, alignment);
  if (!is_class(rounded, alignment) || size_class_of(rounded) != slab.size_class)
    return FreeResult::kWrongSize;
  const auto offset = static_cast<uint32_t>(static_cast<std::byte*>(pointer) - slab.start);
  const uint64_t product = uint64_t{offset} * slab.reciprocal;
  const auto block = static_cast<uint32_t>(product >> 32);
  if (!is_start_of_block(product, slab.reciprocal) || block >= kSizeClasses[slab.size_class].blocks) {
    return FreeResult::kForeign;
  }
  std::atomic<uint16_t>& asked = slab.asked[block];
  auto found = static_cast<uint16_t>(bytes);
  if (!asked.compare_exchange_strong(found, 0, std::memory_order_relaxed)) {
    return found == 0 ? FreeResult::kNotLive : FreeResult::kWrongSize;
  }
  if (slab.owner.load(std::memory_order_relaxed) != cache) {
    free_elsewhere(cache, slab, block);
    return FreeResult::kFreed;
  }
  ClassBin& bin = cache->classes[slab.size_class];
  if (bin.top == bin.limit) put_back(bin, bin.count() / 2);
  *bin.top++ = {static_cast<std::byte*>(pointer), &asked};
  return FreeResult::kFreed;
}

// Half of what the bin may hold, so that the next frees find room.
bool SmallBlockPool::refill(ThreadCache* cache, size_t class_index, Shortage* shortage) {
  publish_much(cache);
  ClassBin& bin = cache->classes[class_index];
  if (bin.partial == 0) collect(cache);
  if (bin.partial == 0 && new_slab(cache, class_index, shortage) == nullptr) return false;
  const auto wanted = static_cast<uint32_t>(bin.limit - bin.bottom) / 2;
  while (bin.count() < wanted && bin.partial != 0) move_blocks(bin, slabs_[bin.partial], wanted);
  return true;
}

// From the slab's free blocks to the bin until it has `wanted`, the lowest on top.
void SmallBlockPool::move_blocks(ClassBin& bin, Slab& slab, uint32_t wanted) {
  const uint32_t blocks = kSizeClasses[slab.size_class].blocks;
  const uint32_t moved = std::min(wanted - bin.count(), blocks - slab.out);
  BlockRef* ref = bin.top + moved;
  uint32_t word = 0;
  uint64_t free = slab.free[0];
  while (ref != bin.top) {
    while (free == 0) {
      slab.free[word] = 0;
      free = slab.free[++word];
    }
    const auto block = word * 64 + static_cast<uint32_t>(std::countr_zero(free));
    free &= free - 1;
    *--ref = {slab.start + size_t{block} * slab.block_bytes, &slab.asked[block]};
  }
  slab.free[word] = free;
  bin.top += moved;
  bin.out += moved;
  slab.out += moved;
  if (slab.out == blocks) unlist(bin, slab);
}

// The oldest blocks of a bin, all but `keep`, go back to their slabs.
void SmallBlockPool::put_back(ClassBin& bin, uint32_t keep) {
  BlockRef* const end = bin.top - keep;
  for (BlockRef* ref = bin.bottom; ref != end; ++ref) {
    Slab& slab = slab_of(*ref);
    const auto block = static_cast<uint32_t>(ref->asked - slab.asked.data());
    slab.free[block / 64] |= bit_of(block);
    --slab.out;
    settle(bin, slab);
  }
  bin.out -= static_cast<uint32_t>(end - bin.bottom);
  bin.top = std::copy(end, bin.top, bin.bottom);
}

// After blocks came back: the slab is listed, or leaves when it is empty and not the only one.
inline void SmallBlockPool::settle(ClassBin& bin, Slab& slab) {
  if (slab.listed && slab.out != 0) return;
  if (!slab.listed) list(bin, slab);
  if (slab.out != 0 || (slab.next == 0 && slab.previous == 0)) return;
  unlist(bin, slab);
  release(slab);
}

// The empty slab that the bin kept, if it has one.
void SmallBlockPool::release_empty(ClassBin& bin) {
  SlabId id = bin.partial;
  while (id != 0 && slabs_[id].out != 0) id = slabs_[id].next;
  if (id == 0) return;
  unlist(bin, slabs_[id]);
  release(slabs_[id]);
}

void SmallBlockPool::list(ClassBin& bin, Slab& slab) {
  slab.previous = 0;
  slab.next = bin.partial;
  if (bin.partial != 0) slabs_[bin.partial].previous = slab.id;
  bin.partial = slab.id;
  slab.listed = true;
}

void SmallBlockPool::unlist(ClassBin& bin, Slab& slab) {
  if (slab.next != 0) slabs_[slab.next].previous = slab.previous;
  if (slab.previous != 0) {
    slabs_[slab.previous].next = slab.next;
  } else {
    bin.partial = slab.next;
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
  const RunId run = take_from_heap(lock, cache, size_class.pages, 1, RunKind::kSlab);
  if (run == 0) {
    *shortage = heap_.shortage();
    return nullptr;
  }
  SlabId id = unused_slab_;
  if (id != 0) {
    unused_slab_ = slabs_[id].next;
  } else {
    id = used_slabs_++;
    slabs_[id].id = id;  // for good: other threads may still look at a record that was released
  }
  Slab& slab = slabs_[id];
  slab.start = heap_.address(heap_.run(run).first);
  slab.run = run;
  slab.block_bytes = size_class.bytes;
  slab.reciprocal = size_class.reciprocal;
  slab.size_class = static_cast<uint8_t>(class_index);
  slab.out = 0;
  for (uint32_t word = 0; word < slab.free.size(); ++word) {
    const uint32_t blocks = size_class.blocks > word * 64 ? size_class.blocks - word * 64 : 0;
    slab.free[word] = blocks >= 64 ? ~uint64_t{0} : (uint64_t{1} << blocks) - 1;
  }
  slab.bin.store(&cache->classes[class_index], std::memory_order_relaxed);
  slab.owner.store(cache, std::memory_order_release);
  heap_.set_slab(lock, run, mark_of(id));
  list(cache->classes[class_index], slab);
  return &slab;
}

void SmallBlockPool::release(Slab& slab) {
  const PageHeap::Lock lock = heap_.lock();
  const Used last = used(*slab.owner.exchange(nullptr, std::memory_order_acq_rel));
  slab.bin.store(nullptr, std::memory_order_relaxed);
  heap_.set_slab(lock, slab.run, 0);
  heap_.give(lock, slab.run, last);
  slab.next = unused_slab_;
  unused_slab_ = slab.id;
}

// ---- Blocks of other threads.

// The user does not have the block any more, so nobody else frees it: its bit is set once.
void SmallBlockPool::free_elsewhere(ThreadCache* cache, Slab& slab, uint32_t block) {
  PendingReturn& pending = cache->pending;
  if (pending.slab != &slab || pending.word != block / 64) {
    pass_on(cache);
    pending = {&slab, block / 64, 0};
  }
  pending.mask |= bit_of(block);
  cache->moved_bytes -= slab.block_bytes;
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
  while (owner == nullptr) {
    // The owner had collected everything and released the slab. Only a next owner of the record, if one came
    // already, has to hear of what is set since.
    slab.queued.exchange(false, std::memory_order_acq_rel);
    owner = slab.owner.load(std::memory_order_acquire);
    if (owner == nullptr || slab.queued.exchange(true, std::memory_order_acq_rel)) return;
  }
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
  uint32_t blocks = 0;
  const size_t words = (size_t{kSizeClasses[slab.size_class].blocks} + 63) / 64;
  for (size_t word = 0; word < words; ++word) {
    const uint64_t bits = slab.returned[word].exchange(0, std::memory_order_acq_rel);
    slab.free[word] |= bits;
    blocks += static_cast<uint32_t>(std::popcount(bits));
  }
  if (blocks == 0) return;
  ClassBin& bin = cache->classes[slab.size_class];
  slab.out -= blocks;
  bin.out -= blocks;
  cache->moved_bytes += int64_t{blocks} * slab.block_bytes;
  settle(bin, slab);
}

// ---- Runs.

void* SmallBlockPool::take_run(ThreadCache* cache, size_t bytes, size_t alignment, Shortage* shortage) {
  publish_much(cache);
  const auto aligned = static_cast<uint32_t>(std::max<size_t>(1, alignment / kPageBytes));
  const PageHeap::Lock lock = heap_.lock();
  const RunId id = take_from_heap(lock, cache, pages_of(bytes), aligned, kind_of(bytes));
  if (id == 0) {
    *shortage = heap_.shortage();
    return nullptr;
  }
  if (fits_cached_run(bytes, alignment)) take_more(lock, cache, heap_.run(id));
  return heap_.begin_block(id, bytes, alignment, cache);
}

// The heap does not grow while the thread keeps runs.
RunId SmallBlockPool::take_from_heap(const PageHeap::Lock& lock, ThreadCache* cache, uint32_t pages,
                                     uint32_t alignment, RunKind kind) {
  if (cache->cached_run_pages != 0) {
    const RunId id = heap_.take(lock, pages, alignment, kind, Growth::kRefused);
    if (id != 0 || heap_.shortage() != Shortage::kGrowth) return id;
    give_cached_runs(lock, cache);
  }
  return heap_.take(lock, pages, alignment, kind);
}

// Others like it that lie at hand, under the same lock.
void SmallBlockPool::take_more(const PageHeap::Lock& lock, ThreadCache* cache, const Run& run) {
  RunBin& bin = cache->runs[run.pages];
  while (bin.count + 1 < bin.runs.size() && cache->cached_run_pages + run.pages <= kMaxCachedRunsPages) {
    const RunId id = heap_.take_loose(lock, run.pages, run.kind);
    if (id == 0) return;
    cache->keep(bin, id, run.pages);
  }
}

FreeResult SmallBlockPool::free_run(ThreadCache* cache, RunId id, void* pointer, size_t bytes,
                                    size_t alignment) {
  const FreeResult result = heap_.end_block(id, pointer, bytes, alignment, cache);
  if (result != FreeResult::kFreed) return result;
  publish_much(cache);
  const uint32_t pages = heap_.run(id).pages;
  if (!fits_cached_run(bytes, alignment)) {
    heap_.give(heap_.lock(), id);
    return FreeResult::kFreed;
  }
  // What the thread freed last is worth more than what it freed before: those of its length go, or all.
  RunBin& bin = cache->runs[pages];
  if (bin.count != 0 || cache->cached_run_pages + pages > kMaxCachedRunsPages) {
    const PageHeap::Lock lock = heap_.lock();
    if (bin.count == 0) give_cached_runs(lock, cache);
    cache->cached_run_pages -= bin.count * pages;
    while (bin.count != 0) heap_.give(lock, bin.runs[--bin.count]);
  }
  cache->keep(bin, id, pages);
  return FreeResult::kFreed;
}

void SmallBlockPool::give_cached_runs(const PageHeap::Lock& lock, ThreadCache* cache) {
  for (size_t word = 0; word < cache->filled_runs.size(); ++word) {
    for (uint64_t bits = std::exchange(cache->filled_runs[word], 0); bits != 0; bits &= bits - 1) {
      RunBin& bin = cache->runs[word * 64 + static_cast<size_t>(std::countr_zero(bits))];
      while (bin.count != 0) heap_.give(lock, bin.runs[--bin.count], used(*cache));
    }
  }
  cache->cached_run_pages = 0;
}

}  // namespace lobit::detail
