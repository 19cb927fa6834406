// What in a run can be acted on: each class watches the blocks of all holders for one kind of MemoryPattern,
// in memory that is bounded by the holders. Owned by what draws a profile, which calls them for each event in
// order. Texts name numbers that were counted, none that were guessed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lobit/memory/memory_holders_internal.h"
#include "lobit/memory/memory_profile.h"
#include "lobit/memory/repeating_sizes_internal.h"
#include "lobit/memory/traced_block_internal.h"

namespace lobit::detail {

// Of each kind at most these are told.
inline constexpr size_t kMostOfAKind = 5;

// "3.1 ms": a time for people.
std::string format_ns(uint64_t ns);
// "1 block", "2 blocks".
std::string format_blocks(uint64_t blocks);

// kShortLivedLarge: blocks of at least kLargeBytes that live for less than 1 % of the run, kOften and more.
class ShortLivedLarge {
 public:
  static constexpr uint64_t kLargeBytes = uint64_t{1} << 20;
  static constexpr uint64_t kOften = 32;

  explicit ShortLivedLarge(uint64_t duration_ns) : most_ns_(duration_ns / 100) {}
  void freed(const TracedBlock& block, uint64_t time_ns);
  std::vector<MemoryPattern> patterns(const MemoryHolders& holders) const;

 private:
  struct State {
    uint64_t blocks = 0;
    uint64_t shortest = UINT64_MAX;  // bytes
    uint64_t longest = 0;            // bytes
    uint64_t most_ns = 0;            // that one of them lived
  };
  uint64_t most_ns_;
  std::vector<State> states_;  // by holder
};

// The same where lifetimes are known by their doublings alone (doubling_of()), of blocks of every holder
// together.
std::vector<MemoryPattern> short_lived_patterns(std::span<const uint64_t> large_lifetimes,
                                                uint64_t duration_ns);

// kGrowth: the run is cut into kParts of equal length. What a holder never falls below in each part must
// never fall from part to part and rise in kRises of them, up to 1 % of the peak at least.
class Growth {
 public:
  static constexpr uint64_t kParts = 16;
  static constexpr uint64_t kRises = 12;

  explicit Growth(uint64_t duration_ns) : part_ns_(duration_ns / kParts + 1) {}
  // After each change of what the holder has; `before` and `now` in bytes.
  void changed(uint32_t holder, uint64_t time_ns, uint64_t before, uint64_t now);
  std::vector<MemoryPattern> patterns(const MemoryHolders& holders, uint64_t peak_bytes);

 private:
  struct State {
    uint64_t part = 0;
    uint64_t least = 0;         // in this part so far
    uint64_t least_before = 0;  // in the part before
    uint64_t rises = 0;
    bool fell = false;
  };
  static void enter(State& state, uint64_t part, uint64_t bytes);
  static void end_part(State& state);

  uint64_t part_ns_;
  std::vector<State> states_;  // by holder
};

// The same of what tags hold in a profile's timeline, whose last moment is the profile's end.
std::vector<MemoryPattern> growth_patterns(const MemoryProfile& profile);

// kRegrowth: a block is allocated, and then a shorter one of at least half its size is freed, which came
// before: the new one replaced it. Blocks that replaced kChain others and more, one after the other, count.
class Regrowth {
 public:
  static constexpr uint32_t kChain = 4;
  static constexpr uint64_t kOften = 8;

  void allocated(uint32_t slot, const TracedBlock& block);
  // The block that replaced `block`, which is freed; nullptr when none did. `blocks`: by slot.
  TracedBlock* freed(const TracedBlock& block, std::vector<TracedBlock>& blocks);
  std::vector<MemoryPattern> patterns(const MemoryHolders& holders) const;

 private:
  static constexpr size_t kRecent = 4;
  struct Recent {
    uint32_t slot = 0;
    uint64_t id = 0;
  };
  struct State {
    std::array<Recent, kRecent> recent = {};  // allocations, the last one first
    double allocated = 0;                     // bytes, of all blocks
    double copied = 0;                        // bytes of blocks that were replaced
    uint64_t replaced = 0;
    uint64_t longest = 0;  // bytes of a block that replaced others
    uint32_t chain = 0;    // the most blocks that one replaced
  };
  std::vector<State> states_;  // by holder
};

// kManySmall: at least kMany blocks under kSmallBytes were live at a time, and those that were freed lived
// equally long: the standard deviation of their times is at most half of the mean.
class ManySmall {
 public:
  static constexpr uint64_t kSmallBytes = 1024;
  static constexpr uint64_t kMany = 1000;

  void allocated(const TracedBlock& block);
  void freed(const TracedBlock& block, uint64_t time_ns);
  std::vector<MemoryPattern> patterns(const MemoryHolders& holders) const;

 private:
  struct State {
    uint64_t live = 0;
    uint64_t most_live = 0;
    uint64_t live_bytes = 0;
    uint64_t bytes = 0;  // when most_live were live
    uint64_t freed = 0;
    double mean_ns = 0;
    double squares = 0;  // of the differences from the mean
  };
  std::vector<State> states_;  // by holder
};

// kFragmentation: what is committed is at least half as much again as what is live, and by kLeast more.
struct CommittedMoment {
  uint64_t committed = 0;
  uint64_t live = 0;    // bytes
  uint64_t blocks = 0;  // live
};
inline constexpr uint64_t kLeastFragmentation = uint64_t{1} << 20;
std::vector<MemoryPattern> fragmentation_patterns(const std::optional<CommittedMoment>& at_peak,
                                                  const std::optional<CommittedMoment>& at_end);

// kRepeating, of what RepeatingSizes found.
std::vector<MemoryPattern> repeating_patterns(const std::vector<RepeatingSize>& sizes,
                                              const std::vector<std::string>& tags);

}  // namespace lobit::detail
