#include <algorithm>
#include <cmath>
#include <tuple>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/memory/memory_patterns_internal.h"

namespace lobit::detail {
namespace {

template <typename State>
State& state_of(std::vector<State>& states, uint32_t holder) {
  if (holder >= states.size()) states.resize(holder + 1);
  return states[holder];
}

// The weightiest ones, in an order that is the same everywhere.
struct Weighted {
  double weight;
  MemoryPattern pattern;
};
std::vector<MemoryPattern> weightiest(std::vector<Weighted> all) {
  std::ranges::sort(all, {}, [](const Weighted& one) {
    return std::tuple(-one.weight, one.pattern.tag, one.pattern.stack);
  });
  if (all.size() > kMostOfAKind) all.resize(kMostOfAKind);
  std::vector<MemoryPattern> patterns;
  for (Weighted& one : all) patterns.push_back(std::move(one.pattern));
  return patterns;
}

MemoryPattern pattern_of(MemoryPatternKind kind, const MemoryHolder& holder) {
  return {.kind = kind, .tag = holder.tag, .stack = holder.stack};
}

std::string format_sum(double bytes) {
  return format_bytes(bytes < 0x1p63 ? static_cast<uint64_t>(bytes) : UINT64_MAX);
}

}  // namespace

std::string format_ns(uint64_t ns) {
  struct Unit {
    double ns;
    const char* name;
  };
  constexpr Unit kUnits[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}};
  const auto value = static_cast<double>(ns);
  for (const auto& [unit, name] : kUnits) {
    if (value >= unit) return fmt::format("{:.1f} {}", value / unit, name);
  }
  return fmt::format("{} ns", ns);
}

std::string format_blocks(uint64_t blocks) {
  return blocks == 1 ? "1 block" : fmt::format("{} blocks", blocks);
}

void ShortLivedLarge::freed(const TracedBlock& block, uint64_t time_ns) {
  const uint64_t lived = time_ns - block.time_ns;
  if (block.bytes < kLargeBytes || lived >= most_ns_) return;
  State& state = state_of(states_, block.holder);
  ++state.blocks;
  state.shortest = std::min(state.shortest, block.bytes);
  state.longest = std::max(state.longest, block.bytes);
  state.most_ns = std::max(state.most_ns, lived);
}

std::vector<MemoryPattern> ShortLivedLarge::patterns(const MemoryHolders& holders) const {
  std::vector<Weighted> found;
  for (uint32_t i = 0; i < states_.size(); ++i) {
    const State& state = states_[i];
    if (state.blocks < kOften) continue;
    MemoryPattern pattern = pattern_of(MemoryPatternKind::kShortLivedLarge, holders.at(i));
    pattern.bytes = state.longest;
    pattern.blocks = state.blocks;
    pattern.text =
        fmt::format("{} blocks of {} to {} lived for at most {}, less than 1 % of the run", state.blocks,
                    format_bytes(state.shortest), format_bytes(state.longest), format_ns(state.most_ns));
    pattern.advice = fmt::format("Keep a buffer of {} and use it each time", format_bytes(state.longest));
    found.push_back(
        {static_cast<double>(state.blocks) * static_cast<double>(state.longest), std::move(pattern)});
  }
  return weightiest(std::move(found));
}

std::vector<MemoryPattern> short_lived_patterns(std::span<const uint64_t> large_lifetimes,
                                                uint64_t duration_ns) {
  MemoryPattern pattern{.kind = MemoryPatternKind::kShortLivedLarge, .bytes = ShortLivedLarge::kLargeBytes};
  uint64_t most_ns = 0;
  for (size_t i = 0; i < large_lifetimes.size() && i < 64 && uint64_t{1} << i <= duration_ns / 100; ++i) {
    if (large_lifetimes[i] == 0) continue;
    pattern.blocks += large_lifetimes[i];
    most_ns = uint64_t{1} << i;
  }
  if (pattern.blocks < ShortLivedLarge::kOften) return {};
  pattern.text = fmt::format("{} blocks of {} or more lived for at most {}, less than 1 % of the run",
                             pattern.blocks, format_bytes(pattern.bytes), format_ns(most_ns));
  pattern.advice = "Keep buffers for them and use those each time";
  return {std::move(pattern)};
}

void Growth::end_part(State& state) {
  if (state.least > state.least_before) ++state.rises;
  state.fell |= state.least < state.least_before;
  state.least_before = state.least;
}

// Parts in between in which nothing changed have what there was all the time.
void Growth::enter(State& state, uint64_t part, uint64_t bytes) {
  if (part == state.part) return;
  end_part(state);
  state.least = bytes;
  if (part > state.part + 1) end_part(state);
  state.part = part;
}

void Growth::changed(uint32_t holder, uint64_t time_ns, uint64_t before, uint64_t now) {
  State& state = state_of(states_, holder);
  enter(state, time_ns / part_ns_, before);
  state.least = std::min(state.least, now);
}

std::vector<MemoryPattern> Growth::patterns(const MemoryHolders& holders, uint64_t peak_bytes) {
  std::vector<Weighted> found;
  for (uint32_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    enter(state, kParts, holders.at(i).bytes);
    // least_before: what the holder did not fall below in the last part.
    const uint64_t grown = state.least_before;
    if (state.fell || state.rises < kRises || grown < peak_bytes / 100) continue;
    MemoryPattern pattern = pattern_of(MemoryPatternKind::kGrowth, holders.at(i));
    pattern.bytes = grown;
    pattern.blocks = holders.at(i).blocks;
    pattern.text = fmt::format(
        "What is held rose to {} in {}, in {} of {} parts of the run, and never fell between them",
        format_bytes(grown), format_blocks(pattern.blocks), state.rises, kParts);
    pattern.advice = "Look for blocks that are kept and not needed any more: this may be a leak";
    found.push_back({static_cast<double>(grown), std::move(pattern)});
  }
  return weightiest(std::move(found));
}

std::vector<MemoryPattern> growth_patterns(const MemoryProfile& profile) {
  const std::vector<MemoryMoment>& timeline = profile.timeline;
  // Each moment is the highest of its interval: too few of them say nothing of what was held at least.
  if (timeline.size() < 4 * Growth::kParts) return {};
  std::vector<uint64_t> blocks(timeline.back().bytes_by_tag.size());
  for (const MemoryHolder& holder : profile.at_end) blocks[holder.tag] += holder.blocks;
  Growth growth(profile.duration_ns);
  std::vector<uint64_t> held(blocks.size());
  for (const MemoryMoment& moment : timeline) {
    for (uint32_t tag = 0; tag < held.size(); ++tag) {
      const uint64_t now = moment.bytes_by_tag[tag];
      if (now != held[tag]) growth.changed(tag, moment.time_ns, held[tag], now);
      held[tag] = now;
    }
  }
  MemoryHolders tags;
  for (uint32_t tag = 0; tag < held.size(); ++tag) tags.allocated(tags.place(tag, 0), held[tag], blocks[tag]);
  return growth.patterns(tags, profile.peak.live_bytes);
}

void Regrowth::allocated(uint32_t slot, const TracedBlock& block) {
  State& state = state_of(states_, block.holder);
  std::ranges::copy_backward(state.recent.begin(), state.recent.end() - 1, state.recent.end());
  state.recent[0] = {slot, block.id};
  state.allocated += static_cast<double>(block.bytes);
}

TracedBlock* Regrowth::freed(const TracedBlock& block, std::vector<TracedBlock>& blocks) {
  State& state = state_of(states_, block.holder);
  for (const Recent& recent : state.recent) {
    if (recent.id <= block.id) break;  // this one and those before it are older
    TracedBlock& longer = blocks[recent.slot];
    const bool replaces = longer.id == recent.id && longer.replaced == 0 && longer.bytes > block.bytes &&
                          longer.bytes - block.bytes <= block.bytes;
    if (!replaces) continue;
    longer.replaced = block.replaced + 1;
    longer.copied = block.copied + block.bytes;
    if (longer.replaced < kChain) return &longer;
    // With the fourth one the three before it turn out to be part of a chain.
    const bool whole = longer.replaced == kChain;
    state.replaced += whole ? kChain : 1;
    state.copied += static_cast<double>(whole ? longer.copied : block.bytes);
    state.longest = std::max(state.longest, longer.bytes);
    state.chain = std::max(state.chain, longer.replaced);
    return &longer;
  }
  return nullptr;
}

std::vector<MemoryPattern> Regrowth::patterns(const MemoryHolders& holders) const {
  std::vector<Weighted> found;
  for (uint32_t i = 0; i < states_.size(); ++i) {
    const State& state = states_[i];
    // Chance makes chains, too, but few: sizes without order rise four times in one of 120 tries at most.
    if (state.replaced < kOften || state.copied < state.allocated / 16) continue;
    MemoryPattern pattern = pattern_of(MemoryPatternKind::kRegrowth, holders.at(i));
    pattern.bytes = state.longest;
    pattern.blocks = state.replaced;
    pattern.text = fmt::format(
        "{} blocks were replaced by longer ones, up to {} one after the other and up to {} long: {} were "
        "copied, and each time the old and the new one were live",
        state.replaced, state.chain, format_bytes(state.longest), format_sum(state.copied));
    pattern.advice = fmt::format("Reserve {} at once, or grow by pages that stay where they are",
                                 format_bytes(state.longest));
    found.push_back({state.copied, std::move(pattern)});
  }
  return weightiest(std::move(found));
}

void ManySmall::allocated(const TracedBlock& block) {
  if (block.bytes >= kSmallBytes) return;
  State& state = state_of(states_, block.holder);
  ++state.live;
  state.live_bytes += block.bytes;
  if (state.live <= state.most_live) return;
  state.most_live = state.live;
  state.bytes = state.live_bytes;
}

void ManySmall::freed(const TracedBlock& block, uint64_t time_ns) {
  if (block.bytes >= kSmallBytes) return;
  State& state = state_of(states_, block.holder);
  --state.live;
  state.live_bytes -= block.bytes;
  ++state.freed;
  const auto lived = static_cast<double>(time_ns - block.time_ns);
  const double from_mean = lived - state.mean_ns;
  state.mean_ns += from_mean / static_cast<double>(state.freed);
  state.squares += from_mean * (lived - state.mean_ns);
}

std::vector<MemoryPattern> ManySmall::patterns(const MemoryHolders& holders) const {
  std::vector<Weighted> found;
  for (uint32_t i = 0; i < states_.size(); ++i) {
    const State& state = states_[i];
    if (state.most_live < kMany || state.freed < kMany || state.mean_ns == 0) continue;
    const double deviation = std::sqrt(state.squares / static_cast<double>(state.freed));
    if (deviation > state.mean_ns / 2) continue;
    MemoryPattern pattern = pattern_of(MemoryPatternKind::kManySmall, holders.at(i));
    pattern.bytes = state.bytes;
    pattern.blocks = state.most_live;
    pattern.text = fmt::format(
        "{} blocks of less than {} were live at a time, {} in all, and lived equally long: {} on average, "
        "with a "
        "standard deviation of {}",
        state.most_live, format_bytes(kSmallBytes), format_bytes(state.bytes),
        format_ns(static_cast<uint64_t>(state.mean_ns)), format_ns(static_cast<uint64_t>(deviation)));
    pattern.advice =
        fmt::format("Take them from one arena of {} that is freed at once", format_bytes(state.bytes));
    found.push_back({static_cast<double>(state.most_live), std::move(pattern)});
  }
  return weightiest(std::move(found));
}

std::vector<MemoryPattern> fragmentation_patterns(const std::optional<CommittedMoment>& at_peak,
                                                  const std::optional<CommittedMoment>& at_end) {
  std::vector<MemoryPattern> patterns;
  const auto look_at = [&patterns](const std::optional<CommittedMoment>& moment, const char* when,
                                   const char* advice) {
    // Without live blocks there is nothing that memory could lie between: it waits for the next ones.
    if (!moment.has_value() || moment->blocks == 0 || moment->committed <= moment->live) return;
    const uint64_t more = moment->committed - moment->live;
    if (more < kLeastFragmentation || more < moment->live / 2) return;
    patterns.push_back(
        {.kind = MemoryPatternKind::kFragmentation,
         .bytes = more,
         .blocks = moment->blocks,
         .text = fmt::format("{} {} were committed for {} live in {}", when, format_bytes(moment->committed),
                             format_bytes(moment->live), format_blocks(moment->blocks)),
         .advice = advice});
  };
  look_at(at_peak, "When last looked at up to the peak,",
          "Give unused memory back before the peak with trim(), or keep long-lived blocks apart from others");
  look_at(at_end, "When last looked at,",
          "Give unused memory back with trim(); what stays lies between blocks that are live");
  return patterns;
}

std::vector<MemoryPattern> repeating_patterns(const std::vector<RepeatingSize>& sizes,
                                              const std::vector<std::string>& tags) {
  std::vector<MemoryPattern> patterns;
  for (size_t i = 0; i < std::min(sizes.size(), kMostOfAKind); ++i) {
    const RepeatingSize& size = sizes[i];
    const std::string bytes = format_bytes(size.key.bytes);
    patterns.push_back(
        {.kind = MemoryPatternKind::kRepeating,
         .tag = size.key.tag,
         .stack = size.key.stack,
         .bytes = size.key.bytes,
         .blocks = size.allocations,
         .text = fmt::format("{} blocks of {} were allocated for {}, at most {} of them live at a time",
                             size.allocations, bytes, tags[size.key.tag], size.most_live),
         .advice =
             fmt::format("Keep {} of {} and use {} again: {} allocations less", format_blocks(size.most_live),
                         bytes, size.most_live == 1 ? "it" : "them", size.allocations - size.most_live)});
  }
  return patterns;
}

}  // namespace lobit::detail
