// Tracker: what a TrackingResource knows. The resource calls it for each allocation and free at any level but
// kNone; tracking_resource.h says what is exact and when. Any number of threads.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "lobit/base/call_stack.h"
#include "lobit/base/fast_clock.h"
#include "lobit/memory/block_records_internal.h"
#include "lobit/memory/latency_histogram_internal.h"
#include "lobit/memory/maintenance_thread.h"
#include "lobit/memory/thread_states.h"
#include "lobit/memory/tracking_counts_internal.h"
#include "lobit/memory/tracking_resource.h"
#include "lobit/memory/usage_timeline_internal.h"

namespace lobit::detail {

// How long calls took, told by any thread.
class TimedCalls {
 public:
  void add(uint64_t ns) {
    const std::lock_guard lock(mutex_);
    histogram_.add(ns, 1);
    ++count_;
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    histogram_ = {};
    count_ = 0;
  }
  CallLatency latency() const {
    const std::lock_guard lock(mutex_);
    return {.timed = count_,
            .mean_ns = histogram_.mean(),
            .p50_ns = histogram_.percentile(50),
            .p99_ns = histogram_.percentile(99),
            .max_ns = histogram_.percentile(100)};
  }

 private:
  mutable SpinMutex mutex_;
  LatencyHistogram histogram_;
  uint64_t count_ = 0;
};

// Gives stacks the numbers that a report uses; 0 is unknown.
class StackNumbers {
 public:
  uint32_t number_of(StackId id) {
    if (id == 0) return 0;
    const auto [found, is_new] = numbers_.try_emplace(id, static_cast<uint32_t>(ids_.size() + 1));
    if (is_new) ids_.push_back(id);
    return found->second;
  }
  // The first is empty.
  std::vector<StackTrace> traces() const;

 private:
  std::unordered_map<StackId, uint32_t> numbers_;
  std::vector<StackId> ids_;
};

class Tracker final : private ThreadStates<ThreadTracks>, private MaintenanceTask {
 public:
  // `thread` scans for leaks.
  static Result<std::unique_ptr<Tracker>> create(MemoryResource& upstream, const TrackingOptions& options,
                                                 MaintenanceThread& thread = MaintenanceThread::of_process());
  ~Tracker() override;

  // `caller`: where the resource's allocate() returns to, if known: stacks are found faster by it.
  Result<void*> allocate(TrackingLevel level, size_t bytes, size_t alignment, Stream stream,
                         uintptr_t caller = 0) {
    ThreadTracks* const tracks = local();
    if (tracks == nullptr) [[unlikely]]
      return allocate_first(level, bytes, alignment, stream, caller);
    if (level >= TrackingLevel::kStandard)
      return allocate_known(level, *tracks, bytes, alignment, stream, caller);
    return allocate_counted(level, *tracks, bytes, alignment, stream);
  }
  Status deallocate(TrackingLevel level, void* pointer, size_t bytes, size_t alignment, Stream stream) {
    ThreadTracks* const tracks = local();
    if (tracks == nullptr) [[unlikely]]
      return deallocate_first(level, pointer, bytes, alignment, stream);
    if (level >= TrackingLevel::kStandard || tracks->may_pass_peak() ||
        has_records_.load(std::memory_order_relaxed)) {
      return deallocate_known(level, *tracks, pointer, bytes, alignment, stream);
    }
    return deallocate_counted(level, *tracks, pointer, bytes, alignment, stream);
  }

  // Forgets every block; what lives below is counted from here on.
  void forget();
  void reset();

  TrackingStatistics statistics();
  LeakReport leaks(std::chrono::nanoseconds age);
  MemoryProfile profile();

 private:
  using Counts = std::array<uint64_t, kTrackCounts>;
  using ByTag = std::array<uint64_t, kMaxMemoryTags>;

  // What blocks hold together, by tag and stack. `blocks` may be a fraction while sampled ones are added up.
  struct Holding {
    MemoryTag tag;
    uint32_t stack;
    uint64_t bytes;
    double blocks;
  };

  // Tracks for a thread without, while a call lasts; nullptr when there is no room for them.
  class Entry {
   public:
    explicit Entry(Tracker& tracker);
    ~Entry();
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ThreadTracks* tracks() const { return tracks_; }

   private:
    Tracker& tracker_;
    ThreadTracks* tracks_;
    bool borrowed_ = false;
  };

  Tracker(MemoryResource& upstream, const TrackingOptions& options, MaintenanceThread& thread);

  ThreadTracks* new_tracks();
  void retire(ThreadTracks* tracks) override;
  bool scans() const { return options_.leaks.interval.count() > 0 && options_.leaks.report; }
  NextTurn take_turn() override;
  void tell_user(const LeakReport& report) const;

  // At kBasic, where a call counts and does no more. One variable is returned in each, so that the result is
  // made where the caller wants it.
  Result<void*> allocate_counted(TrackingLevel level, ThreadTracks& tracks, size_t bytes, size_t alignment,
                                 Stream stream) {
    Result<void*> block = upstream_.allocate(bytes, alignment, stream);
    if (block) [[likely]] {
      tracks.allocated(bytes);
      if (tracks.has_risen()) [[unlikely]]
        tell(level, tracks);
    } else {
      tracks.count(kRefusedAllocations);
    }
    return block;
  }
  Status deallocate_counted(TrackingLevel level, ThreadTracks& tracks, void* pointer, size_t bytes,
                            size_t alignment, Stream stream) {
    // Counted first, or another thread that gets the memory would seem to have it beside this one.
    tracks.freed(bytes);
    Status freed = upstream_.deallocate(pointer, bytes, alignment, stream);
    if (freed) [[likely]] {
      if (tracks.has_sunk(bytes)) [[unlikely]]
        tell(level, tracks);
    } else {
      tracks.not_freed(bytes);
      tracks.count(kRefusedDeallocations);
    }
    return freed;
  }

  Result<void*> allocate_known(TrackingLevel level, ThreadTracks& tracks, size_t bytes, size_t alignment,
                               Stream stream, uintptr_t caller);
  Status deallocate_known(TrackingLevel level, ThreadTracks& tracks, void* pointer, size_t bytes,
                          size_t alignment, Stream stream);
  Result<void*> allocate_first(TrackingLevel level, size_t bytes, size_t alignment, Stream stream,
                               uintptr_t caller);
  Status deallocate_first(TrackingLevel level, void* pointer, size_t bytes, size_t alignment, Stream stream);

  bool wants_record(TrackingLevel level, ThreadTracks& tracks, size_t bytes) const;
  // Out of line: most calls at kStandard make no record.
  [[gnu::noinline]] void add_record(TrackingLevel level, ThreadTracks& tracks, void* pointer, size_t bytes,
                                    uintptr_t caller);
  void restore(ThreadTracks& tracks, const BlockRecord& record);
  void end_record(TrackingLevel level, ThreadTracks& tracks, const BlockRecord& record) const;
  // How many blocks the record stands for, and their bytes.
  double blocks_of(const BlockRecord& record) const;
  int64_t weight(const BlockRecord& record) const;

  // Adds what the thread did to the totals.
  void tell(TrackingLevel level, ThreadTracks& tracks);
  void look_at_committed(uint64_t now);
  void look_at_holders(uint64_t peak);
  // These want the lock.
  void take_over(ThreadTracks& tracks);
  void take_over_all();
  void begin();
  void note_moment(uint64_t now);
  void set_bounds();
  ByTag split_by_tag() const;
  Counts sum() const;

  std::vector<Holding> holdings();
  Error with_holders(TrackingLevel level, Error error);
  std::string names_of_holders(TrackingLevel level);
  std::vector<BlockRecord> records_of(std::chrono::nanoseconds age);
  void add_leaks(LeakReport& report, StackNumbers& stacks, const std::vector<BlockRecord>& found);
  static std::vector<MemoryHolder> holders_of(const std::vector<Holding>& found, StackNumbers& stacks);
  void add_counts(MemoryProfile& profile, const TrackingStatistics& statistics) const;
  std::vector<Holding> add_times(MemoryProfile& profile);
  static void add_patterns(MemoryProfile& profile);
  int64_t live_blocks(const Counts& counts) const;
  uint64_t own_bytes();
  uint64_t now_ns() const { return clock_.nanoseconds() - start_ns_; }

  MemoryResource& upstream_;
  const TrackingOptions options_;
  MaintenanceThread& thread_;
  const FastClock clock_;
  const uint64_t start_ns_;
  BlockRecords records_;
  std::atomic<bool> has_records_{false};  // since the last forget()

  SpinMutex mutex_;  // not held while the resource below or the user is called
  std::vector<std::unique_ptr<ThreadTracks>> threads_;
  ThreadTracks* idle_ = nullptr;
  uint64_t begin_ns_ = 0;                 // of counting
  uint64_t last_ns_ = 0;                  // that the totals heard of
  std::atomic<bool> has_samples_{false};  // since then
  int64_t blocks_before_ = 0;             // that lived then
  int64_t live_ = 0;
  std::array<int64_t, kMaxMemoryTags> live_by_tag_{};
  ByTag peak_by_tag_{};
  int64_t peak_live_ = 0;
  ByTag peak_split_{};  // then
  uint64_t peak_time_ns_ = 0;
  uint64_t peak_committed_ = 0;
  uint64_t peaks_ = 0;  // so far: tells a look at the holders of one from a later one
  std::vector<Holding> at_peak_;
  uint64_t at_peak_number_ = 0;  // of the peak that they are of
  int64_t at_peak_live_ = 0;     // then
  int64_t bounds_live_ = 0;      // when set_bounds() was called
  std::optional<UsageTimeline> timeline_;

  std::atomic<uint64_t> committed_{0};
  std::atomic<uint64_t> committed_due_ns_{0};  // when to look again
  TimedCalls allocate_latency_;
  TimedCalls free_latency_;
  std::atomic<uint64_t> leaked_bytes_{0};  // at the last scan
};

}  // namespace lobit::detail
