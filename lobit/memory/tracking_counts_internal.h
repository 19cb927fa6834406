// What a TrackingResource counts, by thread and without a lock. Counts only rise; what they were at the last
// reset is kept beside them, and who reads them subtracts it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "lobit/memory/doublings_internal.h"
#include "lobit/memory/memory_tag.h"
#include "lobit/memory/relaxed.h"

namespace lobit::detail {

enum TrackCount : size_t {
  kAllocations,
  kDeallocations,
  kAllocatedBytes,
  kRefusedAllocations,
  kRefusedDeallocations,
  kUnrecorded,
  kLifetimeNs,  // of all blocks in kLifetimes
  kSizes,       // one for each doubling
  kLifetimes = kSizes + kDoublings,
  kLargeLifetimes =
      kLifetimes + kDoublings,  // of blocks that are ShortLivedLarge::kLargeBytes long or longer
  kTrackCounts = kLargeLifetimes + kDoublings,
};

// A thread's, and after its end that of the next thread.
struct alignas(64) ThreadTracks {
  // The thread writes, everybody reads.
  std::array<Relaxed<uint64_t>, kTrackCounts> counts;
  Relaxed<int64_t> live;  // bytes; below 0 where a thread frees what others allocated
  // Bytes of live blocks with a record, and of those that sampled ones stand for; below 0 where a thread
  // frees what others allocated.
  std::array<Relaxed<int64_t>, kMaxMemoryTags> live_by_tag;

  // Written under the tracker's lock: counts at the last reset, and what the totals know.
  std::array<uint64_t, kTrackCounts> at_reset;
  std::array<int64_t, kMaxMemoryTags> told_by_tag;
  Relaxed<int64_t> told_live;
  Relaxed<int64_t> much;  // a change of live bytes that the totals want to know of at once
  // Live bytes above or below which something is to be told: much more, much less, and more than at the peak.
  Relaxed<int64_t> much_more;
  Relaxed<int64_t> much_less;
  Relaxed<int64_t> above_peak;

  // The thread's alone.
  uint32_t calls;
  uint32_t thread;
  uint64_t random;
  int64_t until_sample;
  ThreadTracks* next_idle;

  void count(size_t which, uint64_t amount = 1) { counts[which] = counts[which] + amount; }
  void allocated(uint64_t bytes) {
    count(kAllocations);
    count(kAllocatedBytes, bytes);
    live = live + static_cast<int64_t>(bytes);
  }
  void freed(uint64_t bytes) {
    count(kDeallocations);
    live = live - static_cast<int64_t>(bytes);
  }
  // Undoes freed().
  void not_freed(uint64_t bytes) {
    counts[kDeallocations] = counts[kDeallocations] - 1;
    live = live + static_cast<int64_t>(bytes);
  }
  void hold(MemoryTag tag, int64_t bytes) {
    Relaxed<int64_t>& held = live_by_tag[static_cast<size_t>(tag)];
    held = held + bytes;
  }
  // `room`: by which live bytes may rise before they pass the peak.
  void set_bounds(int64_t much_changed, int64_t room) {
    much = much_changed;
    much_more = told_live + much_changed;
    much_less = told_live - much_changed;
    above_peak = told_live + room;
  }
  bool has_risen() const { return live > much_more; }
  bool may_pass_peak() const { return live > above_peak; }
  // Whether a free of so many bytes is news. One block that goes is none, up to a sixteenth of all (`much` is
  // a 256th): in most programs the next one takes its place.
  bool has_sunk(uint64_t bytes) const {
    if (live >= much_less) [[likely]]
      return false;
    return live < much_less - std::min<int64_t>(static_cast<int64_t>(bytes), 16 * much);
  }
};

}  // namespace lobit::detail
