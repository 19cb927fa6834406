// HybridMemoryPool: the general pool of a device. Blocks up to 4 MiB, and all below the threshold, come from
// the calling thread's own cache (no lock, cost independent of the number of blocks), larger ones are runs of
// pages that split and coalesce. Memory is taken in huge pages where the limit has room for them, kept for
// reuse, and given back by trim() or when nobody used it for a while. Records lie outside the blocks, so that
// misuse is found in every build: freeing twice, freeing what is not a block, or with the wrong size, is an
// error and changes nothing.
//
// fragmentation() counts as pieces what free runs of pages hold; free blocks of slabs and what threads'
// caches keep are free, too, but in no piece.
//
// usage() is exact when no other thread is inside, but for peak_allocated: with several threads it may be off
// by what their caches had not told the pool when the peak was.
//
// Any thread may call anything; threads may end before or after the pool. A thread's first call, also one
// that frees, takes about 76 KB for its cache and is kOutOfMemory when the system refuses them. Two threads
// that free one block at the very same moment may both succeed when the block is of the cache of one of them;
// every other misuse is found. Blocks must be freed, or never touched again, before the pool goes. A child
// process after fork() may not use it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>

#include "lobit/base/export.h"
#include "lobit/device/cpu/virtual_memory.h"
#include "lobit/memory/memory_resource.h"

namespace lobit {

namespace detail {
class SmallBlockPool;
}

inline constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

struct PoolSize {
  uint64_t initial = 0;  // bytes, in whole pages, that are committed at the start and that trimming leaves so
  uint64_t max = kNoLimit;  // bytes of pages that the pool may hold, live blocks and caches together
};

enum class HugePages : uint8_t {
  kWhereTheyFit,  // fresh memory costs a third, but is taken 2 MiB at a time
  kNever,
};

struct MemoryPoolOptions {
  PoolSize small = {};
  PoolSize large = {};
  size_t small_block_threshold = size_t{1} << 20;  // smaller blocks come from the small pool; 32 KiB to 1 GiB
  // Committed bytes, in the units that the system commits: a huge page counts 2 MiB as soon as any of it may
  // be touched. The pool's own records (about 1 % of what small blocks hold) are not counted.
  uint64_t limit = kNoLimit;
  HugePages huge_pages = HugePages::kWhereTheyFit;
  // What nobody used for so long goes back to the system by itself, within twice that time; what is used more
  // often is kept. One thread of the process does it for all pools; it sleeps when nothing is to come. 0:
  // only trim() gives back, and there is no thread. At most a day.
  std::chrono::milliseconds idle_trim{400};
};

// What there was when an allocation failed.
struct OutOfMemory {
  size_t bytes = 0;  // asked for
  size_t alignment = 0;
  uint64_t limit = 0;
  uint64_t committed = 0;
  uint64_t allocated = 0;           // live, as asked for
  uint64_t free_bytes = 0;          // committed and in no block
  uint64_t largest_free_block = 0;  // the most of them in one piece
  uint64_t free_blocks = 0;         // pieces that they lie in
};

class LOBIT_API HybridMemoryPool final : public MemoryResource {
 public:
  // kInvalidArgument for options that contradict each other, kOutOfMemory when the system refuses.
  static Result<std::unique_ptr<HybridMemoryPool>> create(const MemoryPoolOptions& options = {},
                                                          VirtualMemory& memory = system_virtual_memory());
  ~HybridMemoryPool() override;

  const MemoryPoolOptions& options() const;

  // allocate() and deallocate() for callers that count nanoseconds and need no reason: nullptr and false
  // instead of an error.
  void* try_allocate(size_t bytes, size_t alignment = kDefaultAlignment);
  bool try_deallocate(void* pointer, size_t bytes, size_t alignment = kDefaultAlignment);

  // When memory is short, the pool empties its caches and trims itself, then asks its reclaimers, those of
  // the lowest priority number first, to free blocks, trying again after each; then its failure handler. Both
  // are called on the allocating thread, without any lock held, and may use the pool. An exception they throw
  // counts as nothing reclaimed.
  struct Reclaimer {
    int priority = 0;
    std::function<void(const OutOfMemory&)> reclaim;
  };
  using ReclaimerId = uint64_t;
  ReclaimerId add_reclaimer(Reclaimer reclaimer);
  // It is not called any more once this returns, unless a call of it is under way.
  void remove_reclaimer(ReclaimerId id);

  // `handler` returns whether it is worth trying again. An empty one removes it.
  void set_failure_handler(std::function<bool(const OutOfMemory&)> handler);

  // Bytes of pages that live blocks and threads' caches hold, which is what counts against the limit when no
  // free page is left. Some loads that stop nobody; what others do meanwhile may be in it or not.
  uint64_t held_bytes() const;
  // The bytes of the pool's own records.
  uint64_t metadata_bytes() const;
  // The longest block that could be allocated without growing the pool beyond its limit, but for small rests
  // of huge pages that stay committed.
  uint64_t largest_free_block() const;

 private:
  struct State;
  explicit HybridMemoryPool(std::unique_ptr<State> state);

  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;
  size_t do_trim() override;
  TrimResult do_trim_within(const TimeBudget& budget) override;
  void* do_allocate_below(const void* block, size_t bytes, size_t alignment, Stream stream) override;
  MemoryUsage do_usage() const override;
  std::optional<MemoryFragmentation> do_fragmentation() const override;

  void* try_allocate_ready(size_t bytes, size_t alignment);
  bool try_deallocate_ready(void* pointer, size_t bytes, size_t alignment);
  void* try_allocate_slowly(size_t bytes, size_t alignment);
  bool try_deallocate_slowly(void* pointer, size_t bytes, size_t alignment);
  Result<void*> allocate_ready(size_t bytes, size_t alignment);
  Status deallocate_ready(void* pointer, size_t bytes, size_t alignment);
  Result<void*> allocate_slowly(size_t bytes, size_t alignment);
  Status deallocate_slowly(void* pointer, size_t bytes, size_t alignment);

  std::unique_ptr<State> state_;
  detail::SmallBlockPool* small_;  // of state_, one load nearer
};

}  // namespace lobit
