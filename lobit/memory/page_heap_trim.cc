// What a PageHeap says of its free runs, and how it gives their pages back.
#include <algorithm>

#include "lobit/memory/page_heap.h"

namespace lobit::detail {
namespace {

// Given back at a time, some tenths of a millisecond of work where whole huge pages go.
constexpr uint64_t kPartBytes = uint64_t{16} << 20;
// A run that is part of a huge page costs up to a millisecond: the system has to split that.
constexpr uint32_t kPartRuns = 8;

}  // namespace

uint32_t PageHeap::largest_free(const Lock& lock) {
  gather(lock);
  uint32_t largest = 0;
  for (const Bins* bins : {&committed_, &uncommitted_}) {
    for (uint32_t bin = kBins; bin-- > 0;) {
      if (bins->heads[bin] == 0) continue;
      for (RunId id = bins->heads[bin]; id != 0; id = runs_[id].next) {
        largest = std::max(largest, runs_[id].pages);
      }
      break;
    }
  }
  return largest;
}

PageHeap::FreeCommitted PageHeap::free_committed(const Lock& lock) {
  gather(lock);
  FreeCommitted result;
  for (const Bins* bins : {&committed_, &uncommitted_}) {
    for (const RunId head : bins->heads) {
      for (RunId id = head; id != 0; id = runs_[id].next) {
        const PageRange range{runs_[id].first, runs_[id].pages};
        const uint64_t bytes = uint64_t{range.count} * kPageBytes - commits_.missing(range, false);
        result.bytes += bytes;
        result.runs += bytes != 0;
        result.largest = std::max(result.largest, bytes);
      }
    }
  }
  return result;
}

// A free run's committed pages go, at most so many bytes; it comes back into its bin.
uint64_t PageHeap::discard_run(RunId id, uint64_t most) {
  Run& run = runs_[id];
  remove(id);
  const PageRange range{run.first, run.pages};
  const uint64_t freed = commits_.discard(range, most);
  run.prefix = commits_.prefix(range);
  insert(id);
  return freed;
}

// Long runs first: they hold whole huge pages. A run that moves from the committed to the uncommitted ones is
// met once more there and gives nothing.
uint64_t PageHeap::discard_free(uint64_t wanted, uint64_t most) {
  uint64_t freed = 0;
  for (Bins* bins : {&committed_, &uncommitted_}) {
    for (uint32_t bin = kBins; bin-- > 0 && freed < wanted;) {
      RunId id = bins->heads[bin];
      while (id != 0 && freed < wanted) {
        const RunId next = runs_[id].next;
        freed += discard_run(id, most - freed);
        id = next;
      }
    }
  }
  return freed;
}

uint64_t PageHeap::trim(const Lock& lock) {
  gather(lock);
  const uint64_t committed = commits_.committed();
  if (committed <= options_.keep) return 0;
  return discard_free(committed - options_.keep, committed - options_.keep);
}

uint64_t PageHeap::trim_part(const Lock& lock, TrimRound& round) {
  gather(lock);
  uint64_t freed = 0;
  uint32_t runs = 0;  // that gave something
  for (; round.bins > 0; --round.bins) {
    for (Bins* bins : {&committed_, &uncommitted_}) {
      RunId id = bins->heads[round.bins - 1];
      while (id != 0) {
        const RunId next = runs_[id].next;
        const uint64_t committed = commits_.committed();
        const uint64_t most = committed - std::min(committed, options_.keep);
        const uint64_t given = discard_run(id, std::min(most, kPartBytes - freed));
        freed += given;
        runs += given != 0;
        // The next part begins with the same bin: what gave all it has gives nothing more.
        if (freed + kHugePageBytes > kPartBytes || runs == kPartRuns) return freed;
        id = next;
      }
    }
  }
  return freed;
}

PageHeap::Round PageHeap::discard_untouched(const Lock& lock) {
  gather(lock);
  uint64_t freed = 0;
  for (uint32_t bin = unfinished_bins_; bin-- > 0;) {
    for (Bins* bins : {&committed_, &uncommitted_}) {
      RunId id = bins->heads[bin];
      while (id != 0 && freed < kPartBytes) {
        const RunId next = runs_[id].next;
        const uint64_t committed = commits_.committed();
        freed += discard_untouched_of(id, committed - std::min(committed, options_.keep));
        id = next;
      }
    }
    if (freed >= kPartBytes) {
      unfinished_bins_ = bin + 1;  // what was given back of this one is not found again
      return Round::kUnfinished;
    }
  }
  unfinished_bins_ = kBins;
  return touched_.clear() ? Round::kTouched : Round::kQuiet;
}

// What a free run has in units without a mark, at most so many bytes.
uint64_t PageHeap::discard_untouched_of(RunId id, uint64_t most) {
  uint64_t freed = 0;
  PageRange rest{runs_[id].first, runs_[id].pages};
  while (rest.count != 0) {
    const UnitMarks::Stretch stretch = touched_.first_stretch(rest);
    if (!stretch.marked) freed += commits_.discard(stretch.range, most - freed);
    rest = {stretch.range.end(), rest.count - stretch.range.count};
  }
  if (freed == 0) return 0;
  Run& run = runs_[id];
  const uint32_t prefix = commits_.prefix({run.first, run.pages});
  remove(id);
  run.prefix = prefix;
  insert(id);
  return freed;
}

}  // namespace lobit::detail
