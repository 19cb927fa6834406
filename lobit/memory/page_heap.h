// PageHeap: runs of pages out of one reserved range of addresses, split and fully coalesced. The small and
// the large pool of a device both live on it, so what one frees the other can use. A run is found in a
// segregated bin; free runs are either committed in whole (reused first: touching fresh memory is what costs)
// or not.
//
// Guarded by its mutex: calls that take a `Lock` are made with it held. run(), run_at() and slab_at() may be
// asked without it about any page; what they say of a run stands still while the caller has that run.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "lobit/memory/commit_map.h"
#include "lobit/memory/maintenance_thread.h"
#include "lobit/memory/metadata_array.h"
#include "lobit/memory/relaxed.h"
#include "lobit/memory/size_class.h"
#include "lobit/memory/spin_mutex.h"
#include "lobit/memory/unit_marks.h"

namespace lobit::detail {

using RunId = uint32_t;  // 0 is none

// What a run was taken for; each has its own count of pages.
enum class RunKind : uint8_t { kSlab, kSmall, kLarge };
inline constexpr size_t kRunKinds = 3;

// What a run is and, while it is free, its place in a bin. Who frees a pointer that is no block may read a
// record that others work on.
struct Run {
  enum class State : uint8_t { kUnused, kFree, kTaken };

  Relaxed<uint32_t> first;  // page
  uint32_t pages;
  uint32_t prefix;  // free: pages from the first on that are known to be committed
  RunId previous;   // free: in its bin
  RunId next;       // free: in its bin; unused: in the list of unused records
  State state;
  RunKind kind;                     // taken
  std::atomic<bool> live;           // taken as a block: the user has it
  Relaxed<uint8_t> alignment_log2;  // taken as a block
  Relaxed<uint64_t> bytes;          // taken as a block: as asked for
  Relaxed<const void*> owner;       // taken as a block: see end_block()
};
static_assert(sizeof(Run) == 40);

// Whether a run was used until it was given back.
enum class Used : uint8_t { kUntilNow, kLongAgo };

// Whether more may be committed for a run.
enum class Growth : uint8_t { kRefused, kAllowed };

// Why take() found nothing.
enum class Shortage : uint8_t {
  kNone,
  kGrowth,        // nothing that is committed fits, and growth was refused
  kLimit,         // committing it would pass the limit
  kPoolLimit,     // of the small or the large pool
  kAddressSpace,  // no free run is long enough
  kSystem,        // the system refused
};

// What a call to deallocate found.
enum class FreeResult : uint8_t {
  kFreed,
  kForeign,    // no block of this pool begins there
  kNotLive,    // the block is free already
  kWrongSize,  // the block was asked for with other bytes or another alignment
  kNoCache,    // the system refused memory for the calling thread's cache
};

struct PageHeapOptions {
  uint64_t reserve_bytes = 0;        // of address space
  uint64_t limit = 0;                // of committed bytes
  uint64_t keep = 0;                 // trimming leaves that much committed
  uint64_t most_small = UINT64_MAX;  // bytes of slabs and small runs
  uint64_t most_large = UINT64_MAX;  // bytes of large runs
  bool huge_pages = true;            // where the limit has room for them
};

// Whether it is an alignment, and one that every run has.
inline bool has_every_run(size_t alignment) {
  return alignment - 1 < kPageBytes && (alignment & (alignment - 1)) == 0;
}

class PageHeap {
  static constexpr uint32_t kBins = 256;

 public:
  using Lock = std::unique_lock<SpinMutex>;

  static Result<std::unique_ptr<PageHeap>> create(VirtualMemory& memory, const PageHeapOptions& options);
  ~PageHeap();

  Lock lock() { return Lock(mutex_); }

  // A committed run of `pages` that begins at a multiple of `alignment` pages (a power of two), or 0; then
  // shortage() says why.
  RunId take(const Lock& lock, uint32_t pages, uint32_t alignment, RunKind kind,
             Growth growth = Growth::kAllowed);
  // The same as far as it begins below page `below` and needs nothing to be committed.
  RunId take_below(const Lock& lock, size_t below, uint32_t pages, uint32_t alignment, RunKind kind);
  void give(const Lock& lock, RunId id, Used used = Used::kUntilNow);
  // A run of just that length that was given a short while ago and lies at hand, or 0.
  RunId take_loose(const Lock& lock, uint32_t pages, RunKind kind);

  // One large run may wait for who takes that length next, until somebody takes or asks anything under the
  // lock: for who frees and takes large blocks of one size by turns. Two of these need no lock: keep() is
  // false when another run waits, take_kept() 0 when none of that length does. A run leaves its place without
  // the lock only for who uses it, so that it is never missing under the lock.
  bool keep(RunId id) {
    uint64_t none = 0;
    const bool kept = kept_.compare_exchange_strong(none, kept_word(id), std::memory_order_release,
                                                    std::memory_order_relaxed);
    if (watcher_ != nullptr) watcher_->stir();
    return kept;
  }
  RunId take_kept(uint32_t pages) {
    uint64_t word = kept_.load(std::memory_order_relaxed);
    if (static_cast<uint32_t>(word) != pages) return 0;
    const bool taken =
        kept_.compare_exchange_strong(word, 0, std::memory_order_acquire, std::memory_order_relaxed);
    return taken ? static_cast<RunId>(word >> 32) : 0;
  }
  // Keeps this one and gives the one that waited.
  void keep_instead(const Lock& lock, RunId id) {
    const uint64_t word = kept_.exchange(kept_word(id), std::memory_order_acq_rel);
    if (word != 0) give(lock, static_cast<RunId>(word >> 32));
  }
  void give_kept(const Lock& lock) {
    if (kept_.load(std::memory_order_relaxed) == 0) return;
    const uint64_t word = kept_.exchange(0, std::memory_order_acquire);
    if (word != 0) give(lock, static_cast<RunId>(word >> 32));
  }

  // Bytes of runs taken for that, a kept one included.
  uint64_t held_bytes(RunKind kind) const {
    return held_pages_[static_cast<size_t>(kind)].load(std::memory_order_relaxed) * kPageBytes;
  }
  // Of all kinds together, without a kept one.
  uint64_t held_bytes() const {
    const uint64_t kept = static_cast<uint32_t>(kept_.load(std::memory_order_relaxed)) * kPageBytes;
    const uint64_t held =
        held_bytes(RunKind::kSlab) + held_bytes(RunKind::kSmall) + held_bytes(RunKind::kLarge);
    return held - std::min(held, kept);  // they may change between the loads
  }

  // Commits and touches the whole pages of so many bytes for small and large runs, so that they are at hand.
  Status warm(const Lock& lock, uint64_t small_bytes, uint64_t large_bytes);

  // Gives back committed pages of free runs, at most down to `keep`; returns by how much committed() fell.
  uint64_t trim(const Lock& lock);
  // The same a part at a time, so that nobody waits long for the lock. A round that is over has been through
  // all that was free when it began.
  struct TrimRound {
    uint32_t bins = kBins;  // still to be gone through
    bool is_over() const { return bins == 0; }
  };
  uint64_t trim_part(const Lock& lock, TrimRound& round);

  // A round of trimming for idle memory: gives back, at most down to `keep`, what free runs have of units
  // that nobody committed or freed into since the round before.
  enum class Round : uint8_t {
    kUnfinished,  // to be called again: a part at a time, so that nobody waits long for the lock
    kTouched,     // done; what was committed or freed since the round before may go with the next
    kQuiet,       // done, and the next would find nothing unless `watcher` is stirred
  };
  Round discard_untouched(const Lock& lock);
  // Who is stirred when pages are committed or freed, or nobody.
  void watch(const Lock& lock, MaintenanceTask* watcher);

  Shortage shortage() const { return shortage_; }
  uint64_t committed(const Lock&) const { return commits_.committed(); }
  uint64_t peak_committed(const Lock&) const { return commits_.peak(); }
  // The longest free run, committed or not.
  uint32_t largest_free(const Lock& lock);
  // The bytes of such runs that may still be taken before their own limit.
  uint64_t room_for(RunKind kind) const;
  // Committed bytes in free runs, the number of those runs and the most such bytes in one run.
  struct FreeCommitted {
    uint64_t bytes = 0;
    uint64_t runs = 0;
    uint64_t largest = 0;
  };
  FreeCommitted free_committed(const Lock& lock);
  size_t metadata_bytes(const Lock&) const;
  const PageHeapOptions& options() const { return options_; }

  // Pages.
  std::byte* address(uint32_t page) const { return base_ + size_t{page} * kPageBytes; }
  // The page of an address; one that no run has when it lies elsewhere.
  size_t page_of(const void* pointer) const {
    return (reinterpret_cast<uintptr_t>(pointer) - reinterpret_cast<uintptr_t>(base_)) / kPageBytes;
  }
  Run& run(RunId id) { return runs_[id]; }
  // The run that begins or ends at a page, as far as there is one; 0 or a run elsewhere otherwise.
  RunId run_at(size_t page) const {
    return page < runs_at_.size() ? runs_at_[page].load(std::memory_order_relaxed) : 0;
  }
  // The slab that a page is part of, or 0.
  uint32_t slab_at(size_t page) const {
    if (page >= slabs_at_.size()) [[unlikely]]
      return 0;
    return slabs_at_[page].load(std::memory_order_relaxed);
  }
  // Makes a taken run a block; returns where it begins. `owner` is whatever tells the calling thread apart,
  // or nullptr.
  std::byte* begin_block(RunId id, size_t bytes, size_t alignment, const void* owner) {
    Run& run = runs_[id];
    run.bytes = bytes;
    run.alignment_log2 = static_cast<uint8_t>(std::countr_zero(alignment));
    run.owner = owner;
    run.live.store(true, std::memory_order_relaxed);
    return address(run.first);
  }
  // The reverse: kFreed, for one caller only, when that very block begins there. An owner frees its own block
  // without an atomic exchange.
  FreeResult end_block(RunId id, const void* pointer, size_t bytes, size_t alignment, const void* owner) {
    Run& run = runs_[id];
    if (id == 0 || address(run.first) != pointer) return FreeResult::kForeign;
    if (!run.live.load(std::memory_order_relaxed)) return FreeResult::kNotLive;
    if (run.bytes != bytes || size_t{1} << run.alignment_log2 != alignment) return FreeResult::kWrongSize;
    if (owner != nullptr && run.owner == owner) {
      run.live.store(false, std::memory_order_relaxed);
      return FreeResult::kFreed;
    }
    return run.live.exchange(false, std::memory_order_relaxed) ? FreeResult::kFreed : FreeResult::kNotLive;
  }

  // Marks every page of a taken run as a part of `slab`, or of none (0).
  void set_slab(const Lock& lock, RunId id, uint32_t slab);

 private:
  static constexpr uint32_t kMostLooseRun = 256;    // pages
  static constexpr uint32_t kMostLoosePages = 512;  // of all

  // Free runs by length. The first of a bin is its lowest as far as that costs nothing to know: one that
  // comes in goes before the first when it lies lower, and behind it otherwise.
  struct Bins {
    std::array<uint64_t, kBins / 64> filled{};
    std::array<RunId, kBins> heads{};
    std::array<uint32_t, kBins> lowest{};  // the first page of each filled bin's first run
  };

  explicit PageHeap(VirtualMemory& memory, const PageHeapOptions& options)
      : memory_(memory), options_(options) {}
  Status reserve();

  uint64_t kept_word(RunId id) const { return uint64_t{id} << 32 | runs_[id].pages; }
  bool may_hold(uint32_t pages, RunKind kind) const;
  void hold(RunKind kind, int64_t pages);

  Bins& bins_of(const Run& run) { return run.prefix == run.pages ? committed_ : uncommitted_; }
  bool keep_loose(RunId id);
  void merge_loose();
  void gather(const Lock& lock);
  void give_merged(RunId id);
  void insert(RunId id);
  void remove(RunId id);
  RunId find(const Bins& bins, uint32_t pages) const;
  RunId search(const Bins& bins, uint32_t pages) const;
  RunId split_off(RunId id, uint32_t pages, uint32_t alignment, RunKind kind);
  bool have_records();
  RunId new_run(uint32_t first, uint32_t pages, uint32_t prefix);
  void drop_run(RunId id);
  void mark(const Run& run, RunId id);
  bool commit(PageRange range, PageRange before, PageRange after);
  uint64_t discard_run(RunId id, uint64_t most);
  uint64_t discard_free(uint64_t wanted, uint64_t most);
  uint64_t discard_untouched_of(RunId id, uint64_t most);
  void touch(PageRange range);
  RunId merge(RunId left, RunId right);

  // What frees look at without the lock.
  std::byte* base_ = nullptr;
  MetadataArray<std::atomic<uint32_t>> slabs_at_;
  MetadataArray<std::atomic<RunId>> runs_at_;
  MetadataArray<Run> runs_;

  // What changes under the lock, in lines of its own.
  alignas(64) SpinMutex mutex_;
  std::atomic<uint64_t> kept_{0};  // kept_word() of the run that waits, or 0
  std::array<std::atomic<uint64_t>, kRunKinds> held_pages_{};
  VirtualMemory& memory_;
  PageHeapOptions options_;
  uint32_t pages_ = 0;  // reserved
  CommitMap commits_;
  uint32_t used_records_ = 1;
  RunId unused_ = 0;
  // Short runs that were given last, not merged with their neighbours: by their length, linked by `next`.
  std::array<RunId, kMostLooseRun + 1> loose_{};
  uint32_t loose_pages_ = 0;
  Bins committed_;
  Bins uncommitted_;
  UnitMarks touched_;                 // since the last round
  uint32_t unfinished_bins_ = kBins;  // of a round
  MaintenanceTask* watcher_ = nullptr;
  Shortage shortage_ = Shortage::kNone;
};

}  // namespace lobit::detail
