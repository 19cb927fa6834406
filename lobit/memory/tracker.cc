// The calls that are tracked: what is counted for each, and which blocks get a record.
#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <utility>

#include <fmt/format.h>

#include "lobit/memory/memory_patterns_internal.h"
#include "lobit/memory/thread_number.h"
#include "lobit/memory/tracker_internal.h"

namespace lobit::detail {
namespace {

// One call in so many is timed. No power of two, or of calls that alternate one kind would never be.
constexpr uint32_t kTimedCalls = 61;
// A thread's change of live bytes that is worth a look at the totals, as a share of all.
constexpr int64_t kMuchShare = 256;
constexpr int64_t kMuchWithoutTimeline = int64_t{1} << 20;

// xorshift64 (Marsaglia 2003); never 0.
uint64_t next_random(uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

// Bytes until the next sample, exponentially distributed, so that no byte is more likely to be met than
// another.
int64_t sample_distance(uint64_t& random, uint64_t mean) {
  const double uniform = (static_cast<double>(next_random(random) >> 11) + 1) * 0x1p-53;
  constexpr double kFarthest = 0x1p60;
  return static_cast<int64_t>(std::min(-std::log(uniform) * static_cast<double>(mean), kFarthest));
}

}  // namespace

// ---- Beginnings and ends.

Result<std::unique_ptr<Tracker>> Tracker::create(MemoryResource& upstream, const TrackingOptions& options,
                                                 MaintenanceThread& thread) {
  if (options.sample_bytes == 0) {
    return fail(ErrorCode::kInvalidArgument, "tracking options: sample_bytes 0, expected at least 1");
  }
  if (options.leaks.interval < options.leaks.interval.zero() ||
      options.leaks.age < options.leaks.age.zero()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tracking options: leaks: interval {} ms and age {} ms, expected none below 0",
                            options.leaks.interval.count(), options.leaks.age.count()));
  }
  constexpr uint32_t kMostPoints = 1 << 16;
  if (options.timeline_points > kMostPoints) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("tracking options: timeline_points {}, expected at most {}",
                            options.timeline_points, kMostPoints),
                {.required = options.timeline_points, .available = kMostPoints});
  }
  std::unique_ptr<Tracker> tracker(new Tracker(upstream, options, thread));
  tracker->forget();
  if (tracker->scans()) {
    LOBIT_RETURN_IF_ERROR(thread.add(*tracker));
    tracker->stir();
  }
  return tracker;
}

Tracker::Tracker(MemoryResource& upstream, const TrackingOptions& options, MaintenanceThread& thread)
    : MaintenanceTask(options.leaks.interval),
      upstream_(upstream),
      options_(options),
      thread_(thread),
      start_ns_(clock_.nanoseconds()) {
  if (options.timeline_points > 0)
    timeline_.emplace(std::max<size_t>(options.timeline_points, 2), kMaxMemoryTags);
}

Tracker::~Tracker() {
  leave_registry();
  if (scans()) thread_.remove(*this);
  if (!options_.leaks.report) return;
  try {
    if (const LeakReport report = leaks({}); report.blocks > 0) tell_user(report);
  } catch (const std::bad_alloc&) {
    return;  // there is no memory to say what holds it
  }
}

void Tracker::forget() {
  has_records_.store(false, std::memory_order_relaxed);
  records_.clear();
  const MemoryUsage usage = upstream_.usage();
  const std::lock_guard lock(mutex_);
  take_over_all();
  live_by_tag_ = {};
  live_ = static_cast<int64_t>(usage.allocated);
  begin();
  blocks_before_ = static_cast<int64_t>(usage.allocations - usage.deallocations);
}

void Tracker::reset() {
  const std::lock_guard lock(mutex_);
  take_over_all();
  begin();
}

// From what lives now. Of each thread the same look at its counts begins the new ones and ends the old ones,
// or blocks that it allocates meanwhile would be in neither.
void Tracker::begin() {
  for (const auto& tracks : threads_) {
    const uint64_t allocations = tracks->at_reset[kAllocations];
    const uint64_t deallocations = tracks->at_reset[kDeallocations];
    for (size_t i = 0; i < kTrackCounts; ++i) tracks->at_reset[i] = tracks->counts[i];
    blocks_before_ += static_cast<int64_t>(tracks->at_reset[kAllocations] - allocations) -
                      static_cast<int64_t>(tracks->at_reset[kDeallocations] - deallocations);
  }
  begin_ns_ = now_ns();
  last_ns_ = begin_ns_;
  has_samples_.store(false, std::memory_order_relaxed);
  leaked_bytes_.store(0, std::memory_order_relaxed);
  peak_live_ = std::numeric_limits<int64_t>::min();
  peak_by_tag_ = {};
  at_peak_.clear();
  at_peak_live_ = 0;
  at_peak_number_ = peaks_;
  if (timeline_) timeline_->clear();
  note_moment(begin_ns_);
  set_bounds();
  allocate_latency_.clear();
  free_latency_.clear();
}

// ---- Threads.

Tracker::Entry::Entry(Tracker& tracker) : tracker_(tracker), tracks_(tracker.find_own()) {
  if (tracks_ == nullptr) tracks_ = tracker.new_tracks();
  if (tracks_ != nullptr) borrowed_ = !tracker.adopt(tracks_);
}

Tracker::Entry::~Entry() {
  if (borrowed_) tracker_.retire(tracks_);
}

ThreadTracks* Tracker::new_tracks() {
  const std::lock_guard lock(mutex_);
  ThreadTracks* tracks = idle_;
  if (tracks != nullptr) {
    idle_ = tracks->next_idle;
  } else {
    try {
      threads_.push_back(std::make_unique<ThreadTracks>());
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    tracks = threads_.back().get();
  }
  tracks->set_bounds(0, 0);
  tracks->thread = thread_number();
  tracks->random = (uint64_t{tracks->thread} + 1) * 0x9E3779B97F4A7C15;
  tracks->until_sample = sample_distance(tracks->random, options_.sample_bytes);
  return tracks;
}

void Tracker::retire(ThreadTracks* tracks) {
  const std::lock_guard lock(mutex_);
  take_over(*tracks);
  tracks->next_idle = idle_;
  idle_ = tracks;
}

// ---- Calls above kBasic, and those that are out of the ordinary.

Result<void*> Tracker::allocate_known(TrackingLevel level, ThreadTracks& tracks, size_t bytes,
                                      size_t alignment, Stream stream, uintptr_t caller) {
  const bool is_timed = level >= TrackingLevel::kStandard && tracks.calls++ % kTimedCalls == 0;
  const uint64_t start = is_timed ? now_ns() : 0;
  Result<void*> block = upstream_.allocate(bytes, alignment, stream);
  if (is_timed) allocate_latency_.add(now_ns() - start);
  if (!block) [[unlikely]] {
    tracks.count(kRefusedAllocations);
    block = fail(with_holders(level, std::move(block).error()));
    return block;  // as below, so that it is made where the caller wants it
  }
  tracks.allocated(bytes);
  if (level >= TrackingLevel::kStandard) tracks.count(kSizes + doubling_of(bytes));
  if (wants_record(level, tracks, bytes)) add_record(level, tracks, *block, bytes, caller);
  if (tracks.has_risen()) tell(level, tracks);
  return block;
}

Status Tracker::deallocate_known(TrackingLevel level, ThreadTracks& tracks, void* pointer, size_t bytes,
                                 size_t alignment, Stream stream) {
  // Before the peak is passed on the way down.
  if (tracks.may_pass_peak()) tell(level, tracks);
  std::optional<BlockRecord> record;
  if (records_.may_have(pointer)) record = records_.remove(pointer);
  if (record) tracks.hold(record->tag, -weight(*record));
  tracks.freed(bytes);
  const bool is_timed = level >= TrackingLevel::kStandard && tracks.calls++ % kTimedCalls == 0;
  const uint64_t start = is_timed ? now_ns() : 0;
  Status freed = upstream_.deallocate(pointer, bytes, alignment, stream);
  if (is_timed) free_latency_.add(now_ns() - start);
  if (!freed) [[unlikely]] {
    tracks.not_freed(bytes);
    tracks.count(kRefusedDeallocations);
    if (record) restore(tracks, *record);
    return freed;
  }
  if (record) end_record(level, tracks, *record);
  if (tracks.has_sunk(bytes)) tell(level, tracks);
  return freed;
}

// A thread's first call, and every one of a thread that is ending. Without room for its counts, it is not
// counted.
Result<void*> Tracker::allocate_first(TrackingLevel level, size_t bytes, size_t alignment, Stream stream,
                                      uintptr_t caller) {
  const Entry entry(*this);
  if (entry.tracks() == nullptr) return upstream_.allocate(bytes, alignment, stream);
  return allocate_known(level, *entry.tracks(), bytes, alignment, stream, caller);
}

Status Tracker::deallocate_first(TrackingLevel level, void* pointer, size_t bytes, size_t alignment,
                                 Stream stream) {
  const Entry entry(*this);
  if (entry.tracks() != nullptr) {
    return deallocate_known(level, *entry.tracks(), pointer, bytes, alignment, stream);
  }
  static_cast<void>(records_.remove(pointer));
  return upstream_.deallocate(pointer, bytes, alignment, stream);
}

// ---- Records.

bool Tracker::wants_record(TrackingLevel level, ThreadTracks& tracks, size_t bytes) const {
  if (level != TrackingLevel::kStandard) return level == TrackingLevel::kDetailed;
  tracks.until_sample -= static_cast<int64_t>(std::min<uint64_t>(bytes, uint64_t{1} << 60));
  if (tracks.until_sample > 0) [[likely]]
    return false;
  tracks.until_sample = sample_distance(tracks.random, options_.sample_bytes);
  return true;
}

void Tracker::add_record(TrackingLevel level, ThreadTracks& tracks, void* pointer, size_t bytes,
                         uintptr_t caller) {
  const StackId stack = options_.stacks == StackCapture::kRecorded ? capture_call_stack(caller) : 0;
  const BlockRecord record{.pointer = pointer,
                           .bytes = bytes,
                           .time_ns = now_ns(),
                           .thread = tracks.thread,
                           .stack = static_cast<uint16_t>(stack),
                           .tag = current_memory_tag(),
                           .is_sampled = level != TrackingLevel::kDetailed};
  if (record.is_sampled) has_samples_.store(true, std::memory_order_relaxed);
  bool is_kept = false;
  // One of a block that was freed past this resource, or at kNone.
  const std::optional<BlockRecord> stale = records_.add(record, &is_kept);
  if (stale) tracks.hold(stale->tag, -weight(*stale));
  has_records_.store(true, std::memory_order_relaxed);
  if (is_kept) {
    tracks.hold(record.tag, weight(record));
  } else {
    tracks.count(kUnrecorded);
  }
}

// The block lives on, unless another thread freed it at the same time: whoever has its address now has its
// own record.
void Tracker::restore(ThreadTracks& tracks, const BlockRecord& record) {
  if (records_.restore(record)) tracks.hold(record.tag, weight(record));
}

void Tracker::end_record(TrackingLevel level, ThreadTracks& tracks, const BlockRecord& record) const {
  if (level != TrackingLevel::kDetailed || record.is_sampled) return;
  // Clocks of two cores may differ by some nanoseconds.
  const uint64_t now = now_ns();
  const uint64_t lifetime = now - std::min(record.time_ns, now);
  tracks.count(kLifetimes + doubling_of(lifetime));
  if (record.bytes >= ShortLivedLarge::kLargeBytes) tracks.count(kLargeLifetimes + doubling_of(lifetime));
  tracks.count(kLifetimeNs, lifetime);
}

// A block of n bytes is sampled with the probability 1 - exp(-n / mean).
double Tracker::blocks_of(const BlockRecord& record) const {
  if (!record.is_sampled) return 1;
  return -1 / std::expm1(-static_cast<double>(record.bytes) / static_cast<double>(options_.sample_bytes));
}

int64_t Tracker::weight(const BlockRecord& record) const {
  if (!record.is_sampled) return static_cast<int64_t>(record.bytes);
  return std::llround(static_cast<double>(record.bytes) * blocks_of(record));
}

// ---- Totals.

void Tracker::tell(TrackingLevel level, ThreadTracks& tracks) {
  const uint64_t now = now_ns();
  if (level >= TrackingLevel::kStandard) look_at_committed(now);
  uint64_t peak = 0;
  {
    const std::lock_guard lock(mutex_);
    take_over(tracks);
    const uint64_t peaks = peaks_;
    note_moment(now);
    const int64_t share = std::max<int64_t>(live_, 0) / kMuchShare;
    tracks.set_bounds(level >= TrackingLevel::kStandard ? share : std::max(share, kMuchWithoutTimeline),
                      peak_live_ - live_);
    if (live_ < bounds_live_ / 2) set_bounds();
    // A look costs as much as there are blocks: rare ones cost little together.
    const bool is_much_more = live_ - at_peak_live_ > at_peak_live_ / 16;
    if (peaks_ != peaks && is_much_more && level >= TrackingLevel::kStandard) peak = peaks_;
  }
  if (peak != 0) look_at_holders(peak);
}

// Asking the pool for it stops its threads for a moment.
void Tracker::look_at_committed(uint64_t now) {
  constexpr uint64_t kPeriodNs = 10'000'000;
  uint64_t due = committed_due_ns_.load(std::memory_order_relaxed);
  if (now < due || !committed_due_ns_.compare_exchange_strong(due, now + kPeriodNs)) return;
  committed_.store(upstream_.usage().committed, std::memory_order_relaxed);
}

void Tracker::take_over_all() {
  for (const auto& tracks : threads_) take_over(*tracks);
  note_moment(now_ns());
  set_bounds();
}

// As the whole is less now, what threads go by is old: they tell again with their next change.
void Tracker::set_bounds() {
  bounds_live_ = live_;
  for (const auto& tracks : threads_) {
    tracks->set_bounds(0, peak_live_ - live_);
  }
}

Tracker::Counts Tracker::sum() const {
  Counts counts{};
  for (const auto& tracks : threads_) {
    for (size_t i = 0; i < kTrackCounts; ++i) counts[i] += tracks->counts[i] - tracks->at_reset[i];
  }
  return counts;
}

int64_t Tracker::live_blocks(const Counts& counts) const {
  return blocks_before_ + static_cast<int64_t>(counts[kAllocations] - counts[kDeallocations]);
}

// What a thread does meanwhile comes with the next time.
void Tracker::take_over(ThreadTracks& tracks) {
  const int64_t live = tracks.live;
  live_ += live - tracks.told_live;
  tracks.told_live = live;
  for (size_t tag = 0; tag < memory_tag_count(); ++tag) {
    const int64_t held = tracks.live_by_tag[tag];
    live_by_tag_[tag] += held - tracks.told_by_tag[tag];
    tracks.told_by_tag[tag] = held;
  }
}

// The split at this moment: what has no record counts as untagged. Estimates that are above the whole are cut
// in proportion.
Tracker::ByTag Tracker::split_by_tag() const {
  const auto live = static_cast<uint64_t>(std::max<int64_t>(live_, 0));
  ByTag split{};
  uint64_t tagged = 0;
  for (size_t tag = 1; tag < split.size(); ++tag) {
    split[tag] = static_cast<uint64_t>(std::max<int64_t>(live_by_tag_[tag], 0));
    tagged += split[tag];
  }
  if (tagged > live) {
    const double share = static_cast<double>(live) / static_cast<double>(tagged);
    tagged = 0;
    for (size_t tag = 1; tag < split.size(); ++tag) {
      split[tag] = std::min(static_cast<uint64_t>(static_cast<double>(split[tag]) * share), live - tagged);
      tagged += split[tag];
    }
  }
  split[0] = live - tagged;
  return split;
}

// What the totals say from now on. Another thread may have told them since `now`.
void Tracker::note_moment(uint64_t now) {
  last_ns_ = std::max(last_ns_, now);
  const ByTag split = split_by_tag();
  for (size_t tag = 0; tag < split.size(); ++tag) {
    peak_by_tag_[tag] = std::max(peak_by_tag_[tag], split[tag]);
  }
  if (timeline_) {
    timeline_->add(last_ns_ - begin_ns_, static_cast<uint64_t>(std::max<int64_t>(live_, 0)),
                   committed_.load(std::memory_order_relaxed), split);
  }
  if (live_ <= peak_live_) return;
  ++peaks_;
  peak_live_ = live_;
  peak_time_ns_ = last_ns_;
  peak_split_ = split;
  peak_committed_ = committed_.load(std::memory_order_relaxed);
}

void Tracker::look_at_holders(uint64_t peak) {
  try {
    std::vector<Holding> found = holdings();
    const std::lock_guard lock(mutex_);
    if (peak <= at_peak_number_) return;  // there was a later one, or all began anew
    at_peak_.swap(found);
    at_peak_number_ = peak;
    at_peak_live_ = live_;
  } catch (const std::bad_alloc&) {
    return;  // those of an earlier moment stay
  }
}

}  // namespace lobit::detail
