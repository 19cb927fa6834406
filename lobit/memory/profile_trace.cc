#include "lobit/memory/profile_trace.h"

#include <algorithm>
#include <span>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/checked.h"
#include "lobit/memory/arena_squares_internal.h"
#include "lobit/memory/doublings_internal.h"
#include "lobit/memory/memory_holders_internal.h"
#include "lobit/memory/memory_patterns_internal.h"
#include "lobit/memory/peak_advice_internal.h"
#include "lobit/memory/trace_survey_internal.h"
#include "lobit/memory/usage_timeline_internal.h"

namespace lobit {
namespace {

using detail::TracedBlock;

constexpr size_t kTimelinePoints = 512;

void add_to(uint64_t& sum, uint64_t more) {
  sum = checked_add(sum, more).value_or(UINT64_MAX);
}

// The second time through a trace.
class Profiler {
 public:
  explicit Profiler(detail::TraceSurvey survey);

  // False when the event is none of the trace that was surveyed.
  bool step(const TraceEvent& event);
  MemoryProfile finish();

 private:
  uint32_t stack_place(uint32_t stack) const;
  void allocate(const TraceEvent& event);
  void free(const TraceEvent& event);
  void note_committed(uint64_t bytes);
  void note_moment(uint64_t time_ns);
  uint64_t committed() const;
  void take_peak(uint64_t time_ns);
  void note_life(const TracedBlock& block, uint64_t until_ns);
  void find_left_blocks();
  void find_patterns();
  bool is_timed() const { return survey_.duration_ns > 0; }

  detail::TraceSurvey survey_;
  std::vector<uint32_t> stack_numbers_;  // ascending; a stack's place is that of its number, and 1 more
  MemoryProfile profile_;
  std::vector<TracedBlock> blocks_;  // by slot
  std::vector<uint64_t> bytes_by_tag_;
  uint64_t events_ = 0;
  std::optional<detail::CommittedMoment> last_usage_;  // what the last `usage` said
  std::optional<detail::CommittedMoment> peak_usage_;  // the same at the peak
  bool is_peak_ = false;                               // nothing was allocated or freed since the peak
  double lifetimes_ns_ = 0;
  detail::MemoryHolders holders_;
  detail::UsageTimeline timeline_;
  detail::ArenaSquares squares_;
  detail::RepeatingSizes repeating_;
  detail::ShortLivedLarge short_lived_;
  detail::Growth growth_;
  detail::Regrowth regrowth_;
  detail::ManySmall small_;
  detail::PeakAdvisor advisor_;
};

Profiler::Profiler(detail::TraceSurvey survey)
    : survey_(std::move(survey)),
      blocks_(survey_.slots),
      bytes_by_tag_(survey_.tags.size()),
      timeline_(kTimelinePoints, survey_.tags.size()),
      squares_(detail::arena_rows(survey_.ranges), std::max<uint64_t>(survey_.duration_ns, 1),
               survey_.tags.size()),
      repeating_(survey_.frequent),
      short_lived_(survey_.duration_ns),
      growth_(survey_.duration_ns),
      advisor_(survey_.peak_time_ns, survey_.peak_bytes, survey_.duration_ns, survey_.tags.size()) {
  profile_.name = survey_.name;
  profile_.limit = survey_.limit;
  profile_.duration_ns = survey_.duration_ns;
  profile_.tags = survey_.tags;
  profile_.peak_by_tag.resize(survey_.tags.size());
  profile_.peak.bytes_by_tag.resize(survey_.tags.size());
  profile_.stacks.emplace_back();
  for (auto& [number, frames] : survey_.stacks) {
    stack_numbers_.push_back(number);
    profile_.stacks.push_back(std::move(frames));
  }
}

uint32_t Profiler::stack_place(uint32_t stack) const {
  if (stack == 0) return 0;
  const auto found = std::ranges::lower_bound(stack_numbers_, stack);
  if (found == stack_numbers_.end() || *found != stack) return 0;
  return static_cast<uint32_t>(found - stack_numbers_.begin()) + 1;
}

bool Profiler::step(const TraceEvent& event) {
  if (event.slot >= blocks_.size() && event.op == TraceOp::kAllocate) return false;
  if (event.tag >= survey_.tags.size() || event.time_ns > survey_.duration_ns) return false;
  profile_.threads = std::max<uint64_t>(profile_.threads, uint64_t{event.thread} + 1);
  switch (event.op) {
    case TraceOp::kAllocate:
      allocate(event);
      break;
    case TraceOp::kFree:
      free(event);
      break;
    case TraceOp::kRefuse:
      ++profile_.refused;
      break;
    case TraceOp::kTrim:
      ++profile_.trims;
      add_to(profile_.trimmed_bytes, event.bytes);
      break;
    case TraceOp::kUsage:
      note_committed(event.bytes);
      break;
  }
  note_moment(event.time_ns);
  if (events_++ == survey_.peak_event) take_peak(event.time_ns);
  return true;
}

void Profiler::allocate(const TraceEvent& event) {
  is_peak_ = false;
  const uint32_t holder = holders_.place(event.tag, stack_place(event.stack));
  TracedBlock& block = blocks_[event.slot];
  block = {.id = event.block,
           .bytes = event.bytes,
           .time_ns = event.time_ns,
           .address = event.address,
           .holder = holder,
           .repeating = repeating_.allocated({event.bytes, event.tag, event.stack}),
           .thread = event.thread};
  ++profile_.allocations;
  ++profile_.live_blocks;
  add_to(profile_.allocated_bytes, event.bytes);
  profile_.live_bytes += event.bytes;
  ++profile_.sizes[detail::doubling_of(event.bytes)];
  uint64_t& tag_bytes = bytes_by_tag_[event.tag];
  tag_bytes += event.bytes;
  profile_.peak_by_tag[event.tag] = std::max(profile_.peak_by_tag[event.tag], tag_bytes);
  holders_.allocated(holder, event.bytes);
  const uint64_t now = holders_.at(holder).bytes;
  growth_.changed(holder, event.time_ns, now - event.bytes, now);
  regrowth_.allocated(event.slot, block);
  small_.allocated(block);
}

void Profiler::free(const TraceEvent& event) {
  is_peak_ = false;
  const TracedBlock block = std::exchange(blocks_[event.slot], TracedBlock());
  ++profile_.frees;
  --profile_.live_blocks;
  profile_.live_bytes -= block.bytes;
  const uint64_t lived = event.time_ns - block.time_ns;
  lifetimes_ns_ += static_cast<double>(lived);
  ++profile_.lifetimes[detail::doubling_of(lived)];
  bytes_by_tag_[event.tag] -= block.bytes;
  holders_.freed(block.holder, block.bytes);
  const uint64_t now = holders_.at(block.holder).bytes;
  growth_.changed(block.holder, event.time_ns, now + block.bytes, now);
  repeating_.freed(block.repeating);
  short_lived_.freed(block, event.time_ns);
  small_.freed(block, event.time_ns);
  const TracedBlock* longer = regrowth_.freed(block, blocks_);
  if (block.lived_at_peak) advisor_.freed(block, event.tag, event.time_ns, longer);
  note_life(block, event.time_ns);
}

void Profiler::note_committed(uint64_t bytes) {
  last_usage_ = {bytes, profile_.live_bytes, profile_.live_blocks};
  if (!is_peak_ || committed() < profile_.peak.committed) return;
  profile_.peak.committed = committed();
  peak_usage_ = last_usage_;
}

uint64_t Profiler::committed() const {
  return last_usage_.has_value() ? std::max(last_usage_->committed, profile_.live_bytes) : uint64_t{0};
}

// What is live and committed from now on.
void Profiler::note_moment(uint64_t time_ns) {
  profile_.peak_committed = std::max(profile_.peak_committed, committed());
  timeline_.add(time_ns, profile_.live_bytes, committed(), bytes_by_tag_);
}

void Profiler::take_peak(uint64_t time_ns) {
  profile_.peak = {time_ns, profile_.live_bytes, committed(), bytes_by_tag_};
  profile_.at_peak = holders_.sorted();
  peak_usage_ = last_usage_;
  is_peak_ = true;
  for (TracedBlock& block : blocks_) block.lived_at_peak = block.id != 0;
}

void Profiler::note_life(const TracedBlock& block, uint64_t until_ns) {
  if (block.address == 0) return;
  squares_.lived(block.address, block.bytes, holders_.at(block.holder).tag, block.time_ns, until_ns);
}

void Profiler::find_left_blocks() {
  std::vector<const TracedBlock*> left;
  for (const TracedBlock& block : blocks_) {
    if (block.id == 0) continue;
    left.push_back(&block);
    if (block.lived_at_peak) advisor_.left(block, holders_.at(block.holder).tag);
    note_life(block, survey_.duration_ns);
  }
  const auto order = [](const TracedBlock* a, const TracedBlock* b) {
    return std::tuple(b->bytes, a->id) < std::tuple(a->bytes, b->id);
  };
  const size_t told = std::min(left.size(), MemoryProfile::kMostUnfreed);
  std::ranges::partial_sort(left, left.begin() + static_cast<std::ptrdiff_t>(told), order);
  for (const TracedBlock* block : std::span(left).first(told)) {
    const MemoryHolder& holder = holders_.at(block->holder);
    profile_.unfreed.push_back({.block = block->id,
                                .address = block->address,
                                .bytes = block->bytes,
                                .time_ns = block->time_ns,
                                .age_ns = survey_.duration_ns - block->time_ns,
                                .thread = block->thread,
                                .tag = holder.tag,
                                .stack = holder.stack});
  }
}

void Profiler::find_patterns() {
  const auto add = [this](std::vector<MemoryPattern> patterns) {
    std::ranges::move(patterns, std::back_inserter(profile_.patterns));
  };
  std::vector<detail::RepeatingSize> repeating = repeating_.repeating();
  for (detail::RepeatingSize& size : repeating) size.key.stack = stack_place(size.key.stack);
  add(regrowth_.patterns(holders_));
  if (is_timed()) add(growth_.patterns(holders_, survey_.peak_bytes));
  add(detail::fragmentation_patterns(peak_usage_, last_usage_));
  if (is_timed()) add(short_lived_.patterns(holders_));
  add(detail::repeating_patterns(repeating, survey_.tags));
  add(small_.patterns(holders_));
}

MemoryProfile Profiler::finish() {
  find_left_blocks();
  find_patterns();
  profile_.at_end = holders_.sorted();
  profile_.timeline = timeline_.moments();
  if (is_timed()) profile_.arenas = squares_.maps();
  if (profile_.frees > 0) profile_.mean_lifetime_ns = lifetimes_ns_ / static_cast<double>(profile_.frees);
  const uint64_t committed = peak_usage_.has_value() ? peak_usage_->committed : 0;
  profile_.advice = advisor_.advice(survey_.tags, committed);
  return std::move(profile_);
}

}  // namespace

Result<MemoryProfile> profile_trace(const ByteSource& trace, const TraceLimits& limits) {
  LOBIT_TRY(detail::TraceSurvey survey, detail::survey_trace(trace, limits));
  LOBIT_TRY(TraceReader reader, TraceReader::open(trace, limits));
  Profiler profiler(std::move(survey));
  for (;;) {
    LOBIT_TRY(const std::optional<TraceEvent> event, reader.next());
    if (!event.has_value()) return profiler.finish();
    if (!profiler.step(*event)) {
      return fail(ErrorCode::kCorrupt, fmt::format("{}: changed while it was read", trace.name()));
    }
  }
}

}  // namespace lobit
