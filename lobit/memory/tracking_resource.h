// TrackingResource: knows what the memory of a resource is held for, and by whom. How much it knows, and what
// that costs, is its level, which may change at any time:
//
//   kNone      nothing; calls are passed on
//   kBasic     live bytes and blocks, their peak, how often was allocated, freed and refused
//   kStandard  also sizes, the time that calls take (of every 64th), a timeline, and of some blocks (one for
//              every `sample_bytes`) tag, thread, age and stack, from which the rest is estimated
//   kDetailed  tag, thread, age and stack of every block, and how long blocks live
//
// Any number of threads, as many as the resource below takes. Counts are kept by thread and added up by who
// reads them. A thread tells the others when its live bytes rose by 1/256 of all (1 MiB at kBasic), or fell
// by that and one block: so peaks are exact for one thread, and for several off by at most that for each.
//
// The record of a block goes before its memory is given back. Records and counts lie in the heap of the
// program, not in the resource below, on which operator new must not stand; when the heap has no room for
// one, the block is allocated all the same and counted in unrecorded_blocks.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lobit/memory/memory_profile.h"
#include "lobit/memory/memory_tag.h"
#include "lobit/memory/resource_wrapper.h"
#include "lobit/memory/stack_capture.h"

namespace lobit {

namespace detail {
class Tracker;
struct ThreadTracks;
}  // namespace detail

enum class TrackingLevel : uint8_t { kNone, kBasic, kStandard, kDetailed };

// Blocks that were not freed.
struct LeakReport {
  uint64_t blocks = 0;
  uint64_t bytes = 0;
  bool is_estimate = false;                // at kStandard, from the sampled blocks among `largest`
  std::vector<UnfreedBlock> largest = {};  // most bytes first, at most MemoryProfile::kMostUnfreed
  std::vector<std::string> tags = {};      // what UnfreedBlock::tag refers to
  std::vector<StackTrace> stacks = {};     // what UnfreedBlock::stack refers to
};

// When who is told of blocks that were not freed.
struct LeakScan {
  // Called when the resource goes while blocks with a record live, and after each scan that found more than
  // the one before; an exception counts as told. May not end the resource. Empty: nobody is told.
  std::function<void(const LeakReport&)> report = {};
  std::chrono::milliseconds interval{0};   // between scans, on the process's maintenance thread; 0: no scans
  std::chrono::milliseconds age{300'000};  // a scan takes younger blocks for ones that are in use
};

struct TrackingOptions {
  TrackingLevel level = TrackingLevel::kStandard;
  uint64_t sample_bytes = uint64_t{8} << 20;  // on average, between two blocks with a record at kStandard
  StackCapture stacks = StackCapture::kRecorded;
  // Intervals, at most, and as many moments and one more; they grow longer as time goes by. 0: no timeline;
  // at least 2, at most 65536.
  uint32_t timeline_points = 512;
  LeakScan leaks = {};
  std::string name = "memory";  // in the profile

  // Counts alone.
  static TrackingOptions minimal() { return {.level = TrackingLevel::kBasic, .timeline_points = 0}; }
  // For a service that runs for months: a record for every 64 MiB.
  static TrackingOptions production() { return {.sample_bytes = uint64_t{64} << 20, .timeline_points = 128}; }
  // To find out what holds memory: every block, without stacks.
  static TrackingOptions detailed() {
    return {.level = TrackingLevel::kDetailed, .stacks = StackCapture::kNone, .timeline_points = 2048};
  }
  // And who asked for it.
  static TrackingOptions debug() { return {.level = TrackingLevel::kDetailed, .timeline_points = 4096}; }
};

struct TagStatistics {
  MemoryTag tag = MemoryTag::kUntagged;
  uint64_t live_bytes = 0;
  uint64_t peak_bytes = 0;
};

// Since the resource was made, reset() was called, or the level rose from kNone, whichever was last.
struct TrackingStatistics {
  TrackingLevel level = TrackingLevel::kNone;
  uint64_t live_bytes = 0;  // with those that lived when counting began
  uint64_t live_blocks = 0;
  uint64_t peak_bytes = 0;
  uint64_t allocations = 0;
  uint64_t deallocations = 0;
  uint64_t allocated_bytes = 0;             // of all allocations
  uint64_t refused_allocations = 0;         // calls that failed
  uint64_t refused_deallocations = 0;       // calls that failed: misuse
  std::array<uint64_t, 65> sizes = {};      // sizes[n]: allocations above 2^(n-1) and up to 2^n bytes
  std::array<uint64_t, 65> lifetimes = {};  // the same of how many nanoseconds freed blocks lived
  CallLatency allocate_latency = {};
  CallLatency free_latency = {};
  std::vector<TagStatistics> tags = {};  // those that held anything, in their order
  uint64_t recorded_blocks = 0;          // live blocks with a record
  uint64_t unrecorded_blocks = 0;        // allocated without room for one
  uint64_t own_bytes = 0;                // that this resource takes itself; stacks are the process's
};

class LOBIT_API TrackingResource final : public ResourceWrapper {
 public:
  // kInvalidArgument for options that mean nothing, kOutOfMemory when the system refuses the thread that
  // scans.
  static Result<std::unique_ptr<TrackingResource>> create(MemoryResource& upstream,
                                                          const TrackingOptions& options = {});
  ~TrackingResource() override;

  TrackingLevel level() const { return level_.load(std::memory_order_relaxed); }
  // To kNone: forgets everything. From kNone: counts anew; what lives in the resource below counts as live,
  // without a record. What threads are allocating or freeing at the moment in which kNone begins or ends may
  // be counted twice or not at all, and stays so; between other levels nothing is lost.
  void set_level(TrackingLevel level);
  // Counts, peaks and the timeline begin anew; live blocks stay known.
  void reset();

  TrackingStatistics statistics() const;
  // Blocks with a record that are at least so old.
  LeakReport leaks(std::chrono::nanoseconds age = {}) const;
  // Finds out files and lines, which takes some milliseconds at least. Its patterns are growth by tag and
  // what is committed and not live, and at kDetailed large blocks that are short-lived; a trace tells of
  // others.
  MemoryProfile profile() const;

 private:
  TrackingResource(MemoryResource& upstream, std::unique_ptr<detail::Tracker> tracker, TrackingLevel level);

  Result<void*> do_allocate(size_t bytes, size_t alignment, Stream stream) override;
  Status do_deallocate(void* pointer, size_t bytes, size_t alignment, Stream stream) override;

  std::mutex level_mutex_;  // of who changes it
  std::atomic<TrackingLevel> level_;
  std::unique_ptr<detail::Tracker> tracker_;
};
static_assert(MemoryWrapper<TrackingResource>);

}  // namespace lobit
