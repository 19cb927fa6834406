// What a PageHeap says about runs of pages: their records, and the answers of its calls. Plain values.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "lobit/memory/relaxed.h"

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

}  // namespace lobit::detail
