// What one thread keeps of a small-block pool, and the slabs whose blocks it hands out. Only the thread
// itself works on its cache, without a lock; whoever must reach into another thread's cache (to trim, to
// count, or when memory is short) pauses it first:
//
//   owner:  busy = 1;  if (paused) {busy = 0; wait for the pool's lock; again}  ...  busy = 0
//   other:  (holds the pool's lock)  paused = 1;  barrier on all processors;  wait until busy == 0  ...
//   paused = 0
//
// The barrier (membarrier(2)) makes the owner's store of `busy` visible before its load of `paused` is relied
// on, so that the owner pays for no fence. Where the system has no such call, and for the thread sanitizer,
// both sides use sequentially consistent operations.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lobit/memory/block_counts.h"
#include "lobit/memory/page_heap.h"
#include "lobit/memory/relaxed.h"
#include "lobit/memory/size_class.h"

#if defined(__SANITIZE_THREAD__)
#define LOBIT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LOBIT_TSAN 1
#endif
#endif
#ifndef LOBIT_TSAN
#define LOBIT_TSAN 0
#endif

namespace lobit::detail {

using SlabId = uint32_t;  // 0 is none
struct ClassBin;
struct ThreadCache;

// A run cut in blocks of one class. It belongs to one cache for life; other threads only clear `asked`,
// set bits in `returned` and put the slab in the owner's queue.
struct alignas(64) Slab {
  // All that a free looks at.
  Relaxed<std::byte*> start;
  std::atomic<ClassBin*> bin;    // of the owner; nullptr: the record is unused
  Relaxed<uint32_t> reciprocal;  // of block_bytes: is_start_of_block()

  uint32_t block_bytes;
  std::atomic<ThreadCache*> owner;  // nullptr: the record is unused
  Relaxed<uint8_t> size_class;
  bool listed;
  RunId run;
  SlabId id;
  SlabId previous;  // among the owner's slabs of the class that have free blocks
  SlabId next;
  uint32_t out;  // blocks that are not in `free`

  // Bytes of each block as asked for; 0: the user does not have it. Whoever frees a block clears it.
  alignas(64) std::array<std::atomic<uint16_t>, kMaxBlocksPerSlab> asked;
  std::array<uint64_t, kMaxBlocksPerSlab / 64> free;

  // Freed by other threads and not yet collected.
  alignas(64) std::array<std::atomic<uint64_t>, kMaxBlocksPerSlab / 64> returned;
  std::atomic<bool> queued;
  std::atomic<SlabId> next_queued;
};
static_assert(sizeof(Slab) == 704 && kMaxClassBytes <= UINT16_MAX);

// A free block that a cache keeps, and its place in its slab.
struct BlockRef {
  std::byte* pointer;
  std::atomic<uint16_t>* asked;
};

// The last ones in are the first ones out: their lines are still in the processor's cache.
inline constexpr uint32_t kMaxCachedBlocks = 64;
struct alignas(32) ClassBin {
  BlockRef* top;  // behind the last block
  BlockRef* bottom;
  BlockRef* limit;
  SlabId partial;  // first slab with free blocks
  uint32_t out;    // blocks of the cache's slabs that are not free in their slab
  auto count() const { return static_cast<uint32_t>(top - bottom); }
};

// From (bytes - 1) / kClassAlignment to where the bin of the class lies among a cache's bins.
constexpr std::array<uint16_t, kClassTable.size()> make_bin_offsets() {
  std::array<uint16_t, kClassTable.size()> offsets{};
  for (size_t i = 0; i < offsets.size(); ++i) {
    offsets[i] = static_cast<uint16_t>(kClassTable[i] * sizeof(ClassBin));
  }
  return offsets;
}
inline constexpr auto kBinOffsets = make_bin_offsets();

// Whole runs of 9 to 1024 pages, for blocks between kMaxClassBytes and 4 MiB.
inline constexpr uint32_t kMaxCachedRunPages = 1024;
inline constexpr size_t kMaxCachedRunBytes = kMaxCachedRunPages * kPageBytes;
inline constexpr uint32_t kMaxCachedRunsPages = 1024;  // of one thread
struct RunBin {
  uint32_t count;
  std::array<RunId, 3> runs;
};

// Blocks of another thread's slab that this thread freed: bits of one word, passed on together.
struct PendingReturn {
  Slab* slab;
  uint32_t word;
  uint64_t mask;
};

// Bits of `paused`.
inline constexpr uint32_t kPaused = 1;
inline constexpr uint32_t kSymmetric = 2;  // no barrier: every entry takes the slow way
inline constexpr uint32_t kResting = 4;    // not entered since the pool last looked; who enters clears it
inline constexpr uint32_t kDrained = 8;    // and nothing is kept in it since

struct alignas(64) ThreadCache {
  std::atomic<uint32_t> busy;
  std::atomic<uint32_t> paused;
  BlockChange change;  // not told the pool yet
  std::array<ClassBin, kClasses> classes;
  std::array<std::array<BlockRef, kMaxCachedBlocks>, kClasses> blocks;  // of the bins

  // What takes a lock anyway.
  uint32_t cached_run_pages;
  int64_t moved_bytes;  // of slab blocks: freed of other threads' slabs (less), collected from them (more)
  PendingReturn pending;
  std::array<uint64_t, kMaxCachedRunPages / 64 + 1> filled_runs;  // bins that may have some
  std::array<RunBin, kMaxCachedRunPages + 1> runs;
  ThreadCache* next_idle;  // whose thread ended

  alignas(64) std::atomic<SlabId> returned;  // head of the queue of slabs to collect from

  void prepare();  // from zeroes

  // The bin of the class that holds `bytes`, 1 to kMaxClassBytes.
  ClassBin& bin_for(size_t bytes) {
    return *reinterpret_cast<ClassBin*>(reinterpret_cast<std::byte*>(classes.data()) +
                                        kBinOffsets[(bytes - 1) / kClassAlignment]);
  }

  void keep(RunBin& bin, RunId run, uint32_t pages) {
    bin.runs[bin.count++] = run;
    filled_runs[pages / 64] |= uint64_t{1} << (pages % 64);
    cached_run_pages += pages;
  }

  // False when the cache is paused or resting, or when the system has no barrier that would let it be paused:
  // enter_slowly() then. Either way leave() ends it.
  bool enter();
  bool enter_slowly();
  void leave() { busy.store(0, std::memory_order_release); }
  // Under the pool's lock.
  void pause();
  void resume();
  bool is_resting() const { return (paused.load(std::memory_order_relaxed) & kResting) != 0; }
  bool is_drained() const { return (paused.load(std::memory_order_relaxed) & kDrained) != 0; }
  void set_resting() { paused.fetch_or(kResting, std::memory_order_seq_cst); }
  void set_drained() { paused.fetch_or(kDrained, std::memory_order_seq_cst); }
  void rouse() { paused.fetch_and(~(kResting | kDrained), std::memory_order_seq_cst); }
};

inline bool ThreadCache::enter() {
  if constexpr (LOBIT_TSAN != 0) return enter_slowly();
  busy.store(1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return paused.load(std::memory_order_acquire) == 0;
}

inline bool ThreadCache::enter_slowly() {
  busy.store(1, std::memory_order_seq_cst);
  return (paused.load(std::memory_order_seq_cst) & (kPaused | kResting)) == 0;
}

}  // namespace lobit::detail
