// MemoryProfile: everything that is known about the memory of a program or a resource, as plain data. Made
// from a trace (profile_trace()) or by a resource that tracks (TrackingResource::profile()); pages and texts
// are drawn from it. One thread at a time.
//
// Sizes are in bytes, as they were asked for unless something else is said; times in nanoseconds since the
// profile began.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lobit/base/stack_frame.h"

namespace lobit {

// What lives at a moment, by tag; `committed` is what was taken from the system then, 0 when unknown.
struct MemoryMoment {
  uint64_t time_ns = 0;
  uint64_t live_bytes = 0;
  uint64_t committed = 0;
  std::vector<uint64_t> bytes_by_tag = {};  // one for each of MemoryProfile::tags; they add up to live_bytes
};

// Blocks that share a tag and a stack.
struct MemoryHolder {
  uint32_t tag = 0;    // of MemoryProfile::tags
  uint32_t stack = 0;  // of MemoryProfile::stacks; 0 is unknown
  uint64_t bytes = 0;
  uint64_t blocks = 0;
};

// A block that was not freed.
struct UnfreedBlock {
  uint64_t block = 0;  // its number in the trace, from 1; 0 when blocks are not numbered
  uint64_t address = 0;
  uint64_t bytes = 0;
  uint64_t time_ns = 0;  // of its allocation
  uint64_t age_ns = 0;   // when the profile was taken
  uint32_t thread = 0;
  uint32_t tag = 0;
  uint32_t stack = 0;
  std::string device = {};
};

enum class MemoryPatternKind : uint8_t {
  kRepeating,        // one size is allocated again and again while one of it just became free
  kShortLivedLarge,  // large blocks that live for a moment
  kGrowth,           // what a tag or stack holds rises all the time and never falls
  kRegrowth,         // blocks that are replaced by slightly longer ones: a buffer that grows by copying
  kManySmall,        // small blocks by the thousand that live equally long
  kFragmentation,    // much is committed and not live
};

// Something in the run that can be acted on.
struct MemoryPattern {
  MemoryPatternKind kind = MemoryPatternKind::kRepeating;
  uint32_t tag = 0;
  uint32_t stack = 0;
  uint64_t bytes = 0;       // that the pattern is about: of one block, or of the growth
  uint64_t blocks = 0;      // that show it
  std::string text = {};    // one sentence: what was seen, with its numbers
  std::string advice = {};  // one sentence: what to do about it
};

// What would make the peak lower, by so many bytes at most: another moment may be nearly as high.
struct PeakAdvice {
  uint64_t bytes = 0;
  std::string text = {};
};

// A square of the arena map: what share of an address range was live in an interval of time.
struct ArenaMap {
  uint64_t first_address = 0;  // of row 0
  uint64_t row_bytes = 0;      // addresses that a row stands for
  uint64_t column_ns = 0;      // time that a column stands for
  uint32_t rows = 0;
  uint32_t columns = 0;
  std::vector<uint8_t> live = {};  // rows x columns, row after row: 0 free to 255 all live
  std::vector<uint8_t> tag = {};   // the same: the tag that holds most of it, of MemoryProfile::tags
  // Addresses between rows that are left out, because nothing ever lay there: before which row, how many.
  struct Gap {
    uint32_t row = 0;
    uint64_t bytes = 0;
  };
  std::vector<Gap> gaps = {};
};

// requested + rounding + free = committed.
struct MemoryFragmentation {
  uint64_t committed = 0;     // taken from the system
  uint64_t requested = 0;     // live blocks, as they were asked for
  uint64_t rounding = 0;      // what they take beyond that: internal fragmentation
  uint64_t free = 0;          // in no block: external fragmentation, and what waits for reuse
  uint64_t largest_free = 0;  // the most of `free` in one piece
  uint64_t free_pieces = 0;

  // The share of free bytes that a block of the largest piece's size cannot use; 0 without free bytes.
  double unusable() const {
    return free == 0 ? 0 : 1.0 - static_cast<double>(largest_free) / static_cast<double>(free);
  }
};

// Of calls that were timed, in nanoseconds.
struct CallLatency {
  uint64_t timed = 0;
  double mean_ns = 0;
  uint64_t p50_ns = 0;
  uint64_t p99_ns = 0;
  uint64_t max_ns = 0;
};

struct MemoryProfile {
  std::string name = {};  // of the program, trace or resource
  uint64_t duration_ns = 0;
  std::optional<uint64_t> limit = std::nullopt;

  uint64_t allocations = 0;
  uint64_t frees = 0;
  uint64_t refused = 0;          // allocations that failed
  uint64_t allocated_bytes = 0;  // of all allocations
  uint64_t live_bytes = 0;       // at the end
  uint64_t live_blocks = 0;      // at the end
  uint64_t peak_committed = 0;   // 0 when unknown
  uint64_t trims = 0;
  uint64_t trimmed_bytes = 0;
  uint64_t threads = 0;
  double mean_lifetime_ns = 0;  // of blocks that were freed
  bool is_estimate = false;     // holders and unfreed blocks stand for those that were not sampled, too

  std::vector<std::string> tags = {};      // what `tag` refers to
  std::vector<StackTrace> stacks = {};     // what `stack` refers to; the first is empty
  std::vector<uint64_t> peak_by_tag = {};  // the most that each tag ever held

  MemoryMoment peak = {};                   // when most was live
  std::vector<MemoryMoment> timeline = {};  // ascending; of each interval the moment with most live bytes
  std::vector<MemoryHolder> at_peak = {};   // most bytes first
  std::vector<MemoryHolder> at_end = {};    // most bytes first
  std::vector<UnfreedBlock> unfreed = {};   // most bytes first; at most kMostUnfreed of them
  std::array<uint64_t, 65> sizes = {};      // sizes[n]: allocations above 2^(n-1) and up to 2^n bytes
  std::array<uint64_t, 65> lifetimes = {};  // lifetimes[n]: freed blocks that lived above 2^(n-1) to 2^n ns

  std::optional<MemoryFragmentation> fragmentation = std::nullopt;  // at the end
  std::optional<CallLatency> allocate_latency = std::nullopt;
  std::optional<CallLatency> free_latency = std::nullopt;
  std::vector<MemoryPattern> patterns = {};
  std::vector<PeakAdvice> advice = {};  // most bytes first
  std::vector<ArenaMap> arenas = {};    // empty when addresses are unknown

  static constexpr size_t kMostUnfreed = 10000;
};

}  // namespace lobit
