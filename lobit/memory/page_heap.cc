#include "lobit/memory/page_heap.h"

#include <algorithm>
#include <bit>
#include <new>

#include <fmt/format.h>

#include "lobit/base/check.h"

namespace lobit::detail {
namespace {

// Runs of the request's own bin, and filled bins of longer runs, that are looked at.
constexpr int kSearch = 8;
constexpr int kSearchBins = 16;
// Runs that are looked at for a block that is moved, some tens of microseconds of work.
constexpr int kSearchBelow = 1024;

// Exact below 16 pages, then eight bins to a doubling.
uint32_t bin_of(uint32_t pages) {
  if (pages < 16) return pages;
  const auto log = static_cast<uint32_t>(std::bit_width(pages)) - 1;
  return 16 + (log - 4) * 8 + ((pages >> (log - 3)) & 7);
}

}  // namespace

Result<std::unique_ptr<PageHeap>> PageHeap::create(VirtualMemory& memory, const PageHeapOptions& options) {
  std::unique_ptr<PageHeap> heap(new PageHeap(memory, options));
  LOBIT_RETURN_IF_ERROR(heap->reserve());
  return heap;
}

PageHeap::~PageHeap() {
  if (base_ != nullptr) memory_.release(base_, size_t{pages_} * kPageBytes);
}

Status PageHeap::reserve() {
  const uint64_t units = std::max<uint64_t>(1, options_.reserve_bytes / kHugePageBytes);
  LOBIT_CHECK(units * kPagesPerUnit < UINT32_MAX);
  LOBIT_TRY(base_, memory_.reserve(units * kHugePageBytes));
  pages_ = static_cast<uint32_t>(units * kPagesPerUnit);
  LOBIT_RETURN_IF_ERROR(commits_.create(memory_, base_, pages_));
  LOBIT_RETURN_IF_ERROR(touched_.reserve(memory_, pages_));
  LOBIT_RETURN_IF_ERROR(runs_at_.reserve(memory_, pages_));
  LOBIT_RETURN_IF_ERROR(slabs_at_.reserve(memory_, pages_));
  LOBIT_RETURN_IF_ERROR(runs_.reserve(memory_, size_t{pages_} + 1));
  if (!have_records() || !runs_at_.ensure(1)) {
    return fail(ErrorCode::kOutOfMemory, "pool: the system refused memory for the map of pages");
  }
  insert(new_run(0, pages_, 0));
  return {};
}

// The two records that a split may need.
bool PageHeap::have_records() {
  return (unused_ != 0 && runs_[unused_].next != 0) || runs_.ensure(size_t{used_records_} + 2);
}

RunId PageHeap::new_run(uint32_t first, uint32_t pages, uint32_t prefix) {
  RunId id = unused_;
  if (id != 0) {
    unused_ = runs_[id].next;
  } else {
    id = used_records_++;
  }
  Run& run = runs_[id];
  run.first = first;
  run.pages = pages;
  run.prefix = prefix;
  return id;
}

void PageHeap::drop_run(RunId id) {
  runs_[id].state = Run::State::kUnused;
  runs_[id].next = unused_;
  unused_ = id;
}

// A run is found from its first and its last page; the last run of all has no neighbour that would ask.
void PageHeap::mark(const Run& run, RunId id) {
  runs_at_[run.first].store(id, std::memory_order_relaxed);
  const uint32_t last = run.first + run.pages - 1;
  if (last + 1 < pages_) runs_at_[last].store(id, std::memory_order_relaxed);
}

void PageHeap::insert(RunId id) {
  Run& run = runs_[id];
  run.state = Run::State::kFree;
  mark(run, id);
  Bins& bins = bins_of(run);
  const uint32_t bin = bin_of(run.pages);
  const RunId head = bins.heads[bin];
  if (head != 0 && bins.lowest[bin] < run.first) {
    run.previous = head;
    run.next = runs_[head].next;
    runs_[head].next = id;
  } else {
    run.previous = 0;
    run.next = head;
    bins.heads[bin] = id;
    bins.lowest[bin] = run.first;
  }
  if (run.next != 0) runs_[run.next].previous = id;
  bins.filled[bin / 64] |= uint64_t{1} << (bin % 64);
}

void PageHeap::remove(RunId id) {
  const Run& run = runs_[id];
  Bins& bins = bins_of(run);
  const uint32_t bin = bin_of(run.pages);
  if (run.next != 0) runs_[run.next].previous = run.previous;
  if (run.previous != 0) {
    runs_[run.previous].next = run.next;
  } else {
    bins.heads[bin] = run.next;
    if (run.next == 0) {
      bins.filled[bin / 64] &= ~(uint64_t{1} << (bin % 64));
    } else {
      bins.lowest[bin] = runs_[run.next].first;
    }
  }
}

// The lowest, by address, of what is looked at: some runs of the request's own bin and the first ones of the
// next filled bins. Work at the lower end lets what lies above grow together into the long runs that large
// blocks need; the shortest run that fits would leave splinters everywhere.
RunId PageHeap::find(const Bins& bins, uint32_t pages) const {
  const uint32_t own = bin_of(pages);
  RunId found = 0;
  uint32_t lowest = UINT32_MAX;
  int looked = 0;
  for (RunId id = bins.heads[own]; id != 0 && looked < kSearch; id = runs_[id].next, ++looked) {
    if (runs_[id].pages < pages || runs_[id].first >= lowest) continue;
    found = id;
    lowest = runs_[id].first;
  }
  uint32_t bin = own + 1;
  looked = 0;
  for (uint32_t word = bin / 64; word < bins.filled.size(); ++word, bin = word * 64) {
    uint64_t bits = bins.filled[word] & (~uint64_t{0} << (bin % 64));
    for (; bits != 0; bits &= bits - 1) {
      const uint32_t filled = word * 64 + static_cast<uint32_t>(std::countr_zero(bits));
      if (bins.lowest[filled] < lowest) {
        found = bins.heads[filled];
        lowest = bins.lowest[filled];
      }
      if (++looked == kSearchBins) return found;
    }
  }
  return found;
}

// All runs of the request's own bin, where find() looks only at the newest.
RunId PageHeap::search(const Bins& bins, uint32_t pages) const {
  RunId id = bins.heads[bin_of(pages)];
  while (id != 0 && runs_[id].pages < pages) id = runs_[id].next;
  return id;
}

// Who finds a mark there knows that the watcher was stirred since the last round.
inline void PageHeap::touch(PageRange range) {
  if (touched_.set(range) && watcher_ != nullptr) watcher_->stir();
}

void PageHeap::watch(const Lock& /*lock*/, MaintenanceTask* watcher) {
  watcher_ = watcher;
  touched_.clear();
}

uint64_t PageHeap::room_for(RunKind kind) const {
  if (kind == RunKind::kLarge) return options_.most_large - held_bytes(kind);
  return options_.most_small - held_bytes(RunKind::kSlab) - held_bytes(RunKind::kSmall);
}

bool PageHeap::may_hold(uint32_t pages, RunKind kind) const {
  return uint64_t{pages} * kPageBytes <= room_for(kind);
}

void PageHeap::hold(RunKind kind, int64_t pages) {
  std::atomic<uint64_t>& held = held_pages_[static_cast<size_t>(kind)];
  held.store(held.load(std::memory_order_relaxed) + static_cast<uint64_t>(pages), std::memory_order_relaxed);
}

RunId PageHeap::take(const Lock& lock, uint32_t pages, uint32_t alignment, RunKind kind, Growth growth) {
  LOBIT_DCHECK(pages != 0);
  give_kept(lock);
  shortage_ = Shortage::kPoolLimit;
  if (!may_hold(pages, kind)) return 0;
  if (pages > kMostLooseRun && loose_pages_ != 0) merge_loose();
  if (alignment == 1) {
    if (const RunId loose = take_loose(lock, pages, kind); loose != 0) return loose;
  }
  const uint64_t wanted = uint64_t{pages} + alignment - 1;
  shortage_ = Shortage::kAddressSpace;
  if (wanted > pages_) return 0;
  const auto length = static_cast<uint32_t>(wanted);
  RunId id = find(committed_, length);
  if (id == 0 && loose_pages_ != 0) {
    merge_loose();
    id = find(committed_, length);
  }
  if (id == 0 && growth == Growth::kRefused) {
    shortage_ = Shortage::kGrowth;
    return 0;
  }
  if (id == 0) id = find(uncommitted_, length);
  if (id == 0) id = search(committed_, length);
  if (id == 0) id = search(uncommitted_, length);
  return id != 0 ? split_off(id, pages, alignment, kind) : 0;
}

// The first pages of a free run, which is long enough, from a multiple of the alignment on.
RunId PageHeap::split_off(RunId id, uint32_t pages, uint32_t alignment, RunKind kind) {
  Run& run = runs_[id];
  const PageRange before{run.first, (alignment - run.first % alignment) % alignment};
  const PageRange taken{before.end(), pages};
  const PageRange after{taken.end(), run.pages - before.count - pages};
  shortage_ = Shortage::kSystem;
  if (!have_records() || !runs_at_.ensure(size_t{taken.end()} + (after.count != 0 ? 1 : 0)) ||
      !slabs_at_.ensure(taken.end())) {
    return 0;
  }
  remove(id);
  const uint32_t prefix = run.prefix;
  const bool was_committed = prefix >= before.count + pages;
  if (!was_committed && !commit(taken, before, after)) {
    run.prefix = commits_.prefix({run.first, run.pages});
    insert(id);
    return 0;
  }
  run.first = taken.first;
  run.pages = pages;
  run.state = Run::State::kTaken;
  run.kind = kind;
  hold(kind, pages);
  mark(run, id);
  if (before.count != 0) {
    insert(new_run(before.first, before.count, was_committed ? before.count : commits_.prefix(before)));
  }
  if (after.count != 0) {
    const uint32_t rest = was_committed ? prefix - before.count - pages : commits_.prefix(after);
    insert(new_run(after.first, after.count, rest));
  }
  shortage_ = Shortage::kNone;
  return id;
}

// The lowest committed run of those that are looked at, which are many more than take() can spare time for.
RunId PageHeap::take_below(const Lock& lock, size_t below, uint32_t pages, uint32_t alignment, RunKind kind) {
  gather(lock);
  const uint64_t length = uint64_t{pages} + alignment - 1;
  if (length > pages_ || !may_hold(pages, kind)) return 0;
  RunId found = 0;
  uint64_t lowest = below;
  int looked = 0;
  for (uint32_t bin = bin_of(static_cast<uint32_t>(length)); bin < kBins; ++bin) {
    for (RunId id = committed_.heads[bin]; id != 0 && looked < kSearchBelow; id = runs_[id].next, ++looked) {
      const uint64_t first = (uint64_t{runs_[id].first} + alignment - 1) / alignment * alignment;
      if (runs_[id].pages < length || first >= lowest) continue;
      found = id;
      lowest = first;
    }
  }
  return found != 0 ? split_off(found, pages, alignment, kind) : 0;
}

// Huge pages where the limit has room for them, then single pages, then what free runs still hold, the rest
// of the chosen run among them.
bool PageHeap::commit(PageRange range, PageRange before, PageRange after) {
  const uint64_t room = options_.limit - commits_.committed();
  const bool huge = options_.huge_pages && commits_.missing(range, true) <= room;
  const uint64_t missing = commits_.missing(range, huge);
  if (missing > room) {
    const uint64_t wanted = missing - room;
    uint64_t freed = discard_free(wanted, UINT64_MAX);
    if (freed < wanted) freed += commits_.discard(after, UINT64_MAX);
    if (freed < wanted) freed += commits_.discard(before, UINT64_MAX);
    if (freed < wanted || commits_.committed() + commits_.missing(range, false) > options_.limit) {
      shortage_ = Shortage::kLimit;
      return false;
    }
  }
  shortage_ = Shortage::kSystem;
  try {
    if (!touched_.ensure(range.end()) || !commits_.commit(range, huge && missing <= room)) return false;
  } catch (const std::bad_alloc&) {  // of the error's text
    return false;
  }
  touch(range);
  return true;
}

void PageHeap::give(const Lock& /*lock*/, RunId id, Used used) {
  const Run& run = runs_[id];
  LOBIT_DCHECK(run.state == Run::State::kTaken);
  hold(run.kind, -int64_t{run.pages});
  if (used == Used::kUntilNow) {
    touch({run.first, run.pages});
    if (keep_loose(id)) return;
  }
  give_merged(id);
}

RunId PageHeap::take_loose(const Lock& /*lock*/, uint32_t pages, RunKind kind) {
  const RunId id = pages <= kMostLooseRun ? loose_[pages] : 0;
  if (id == 0 || !may_hold(pages, kind)) return 0;
  loose_[pages] = runs_[id].next;
  loose_pages_ -= pages;
  runs_[id].kind = kind;
  hold(kind, pages);
  shortage_ = Shortage::kNone;
  return id;
}

bool PageHeap::keep_loose(RunId id) {
  Run& run = runs_[id];
  if (run.pages > kMostLooseRun || loose_pages_ + run.pages > kMostLoosePages) return false;
  run.next = loose_[run.pages];
  loose_[run.pages] = id;
  loose_pages_ += run.pages;
  return true;
}

void PageHeap::merge_loose() {
  for (RunId& head : loose_) {
    while (head != 0) {
      const RunId id = head;
      head = runs_[id].next;
      give_merged(id);
    }
  }
  loose_pages_ = 0;
}

// What waits for its own length becomes free like the rest.
void PageHeap::gather(const Lock& lock) {
  give_kept(lock);
  merge_loose();
}

void PageHeap::give_merged(RunId id) {
  Run& run = runs_[id];
  run.prefix = run.pages;
  if (run.first != 0) {
    const RunId left = runs_at_[run.first - 1].load(std::memory_order_relaxed);
    if (runs_[left].state == Run::State::kFree) {
      remove(left);
      id = merge(left, id);
    }
  }
  const uint32_t end = runs_[id].first + runs_[id].pages;
  if (end < pages_) {
    const RunId right = runs_at_[end].load(std::memory_order_relaxed);
    if (runs_[right].state == Run::State::kFree) {
      remove(right);
      id = merge(id, right);
    }
  }
  insert(id);
}

// Neither is in a bin; `left` stays.
RunId PageHeap::merge(RunId left, RunId right) {
  Run& run = runs_[left];
  if (run.prefix == run.pages) run.prefix += runs_[right].prefix;
  run.pages += runs_[right].pages;
  drop_run(right);
  return left;
}

Status PageHeap::warm(const Lock& lock, uint64_t small_bytes, uint64_t large_bytes) {
  std::array<RunId, 2> taken{};
  Status status;
  for (const bool large : {false, true}) {
    const uint64_t bytes = large ? large_bytes : small_bytes;
    const uint64_t pages = bytes / kPageBytes;
    if (pages == 0) continue;
    const RunKind kind = large ? RunKind::kLarge : RunKind::kSmall;
    const RunId id = pages <= pages_ ? take(lock, static_cast<uint32_t>(pages), 1, kind) : 0;
    if (id == 0) {
      status = fail(ErrorCode::kOutOfMemory,
                    fmt::format("pool: the initial {} bytes ({} pages of {}) are not to be had", bytes, pages,
                                kPageBytes),
                    {.required = bytes});
      break;
    }
    taken[large ? 1 : 0] = id;
    memory_.populate(address(runs_[id].first), static_cast<size_t>(pages) * kPageBytes);
  }
  for (const RunId id : taken) {
    if (id != 0) give(lock, id);
  }
  return status;
}

size_t PageHeap::metadata_bytes(const Lock& /*lock*/) const {
  return commits_.metadata_bytes() + runs_at_.bytes() + slabs_at_.bytes() + runs_.bytes();
}

void PageHeap::set_slab(const Lock& /*lock*/, RunId id, uint32_t slab) {
  const Run& run = runs_[id];
  for (uint32_t page = run.first; page < run.first + run.pages; ++page) {
    slabs_at_[page].store(slab, std::memory_order_relaxed);
  }
}

}  // namespace lobit::detail
