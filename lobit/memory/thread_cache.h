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
struct ThreadCache;

// A run cut in blocks of one class. It belongs to one cache for life; other threads only set bits in
// `returned` and put it in the owner's queue.
struct alignas(64) Slab {
  std::byte* start;
  std::atomic<ThreadCache*> owner;  // nullptr: the record is unused
  RunId run;
  SlabId id;
  SlabId previous;  // among the owner's slabs of the class that have free blocks
  SlabId next;
  uint16_t out;  // blocks that are not in `free`
  uint8_t size_class;
  bool listed;

  alignas(64) std::array<uint64_t, kMaxBlocksPerSlab / 64> free;
  std::array<std::atomic<uint64_t>, kMaxBlocksPerSlab / 64> live;  // the user has them; written by the owner

  // Freed by other threads and not yet collected.
  alignas(64) std::array<std::atomic<uint64_t>, kMaxBlocksPerSlab / 64> returned;
  std::atomic<bool> queued;
  std::atomic<SlabId> next_queued;
};
static_assert(sizeof(Slab) == 192);

// A free block that a cache keeps.
struct BlockRef {
  SlabId slab;
  uint32_t block;
};

// The last ones in are the first ones out: their lines are still in the processor's cache.
struct ClassBin {
  uint32_t count;
  SlabId partial;  // first slab with free blocks
  std::array<BlockRef, 64> blocks;
};

// Whole runs of 9 to 256 pages, for blocks between kMaxClassBytes and 1 MiB.
inline constexpr uint32_t kMaxCachedRunPages = 256;
inline constexpr uint64_t kMaxCachedRunBytes = uint64_t{2} << 20;  // of one thread
struct RunBin {
  uint32_t count;
  std::array<RunId, 3> runs;
};

// Blocks of other threads' slabs that this thread freed: bits of one word of one slab, passed on together.
struct PendingReturn {
  Slab* slab;
  uint32_t word;
  uint64_t mask;
};

struct alignas(64) ThreadCache {
  std::atomic<uint32_t> busy;
  std::atomic<uint32_t> paused;
  std::atomic<SlabId> returned;  // head of the queue of slabs to collect from
  ThreadCache* next_idle;        // whose thread ended

  alignas(64) BlockChange change;  // not told the pool yet
  uint64_t cached_run_bytes;
  PendingReturn pending;

  std::array<ClassBin, kClasses> classes;
  std::array<RunBin, kMaxCachedRunPages + 1> runs;

  bool enter();
  void leave() { busy.store(0, std::memory_order_release); }
  void pause();
  void resume() { paused.store(0, std::memory_order_release); }
};

// Whether membarrier(2) works; read once when the program starts.
extern const bool kAsymmetricFences;

inline bool ThreadCache::enter() {
  if (!kAsymmetricFences) {
    busy.store(1, std::memory_order_seq_cst);
    return paused.load(std::memory_order_seq_cst) == 0;
  }
  busy.store(1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return paused.load(std::memory_order_acquire) == 0;
}

}  // namespace lobit::detail
