// How to step from a frame of the call stack to its caller's: what the compiler wrote about each call in the
// unwind tables (.eh_frame), cut down to one word per return address and kept in a table of the process, so
// that the next walk over the same call needs one load instead of reading the tables again.
//
// Any thread may call everything here; nothing locks (learning calls the loader, which does) or allocates.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace lobit::detail {

// The part of the unwind tables that matters for one return address. CFA is the stack pointer before the call
// of the frame's function; on x86-64 the return address lies right below it, always.
//
//   CFA = (is_from_frame_pointer ? frame pointer : stack pointer) + 8 * cfa_words
//   the caller's frame pointer = saved_words == 0 ? unchanged : the word at CFA - 8 * saved_words
class FrameRule {
 public:
  static constexpr uint32_t kMaxCfaWords = (1u << 16) - 1;
  static constexpr uint32_t kMaxSavedWords = (1u << 8) - 1;

  constexpr FrameRule() = default;  // not known yet
  constexpr FrameRule(bool is_from_frame_pointer, uint32_t cfa_words, uint32_t saved_words)
      : bits_(cfa_words | saved_words << 16 | (is_from_frame_pointer ? kFromFramePointer : 0)) {}
  static constexpr FrameRule outermost() { return FrameRule(kOutermost); }
  static constexpr FrameRule other() { return FrameRule(kOther); }
  static constexpr FrameRule from_bits(uint32_t bits) { return FrameRule(bits); }

  constexpr bool is_known() const { return bits_ != 0; }
  // Nobody called this function.
  constexpr bool is_outermost() const { return bits_ == kOutermost; }
  // The tables are silent, or say what does not fit above: only the real unwinder can step.
  constexpr bool is_other() const { return bits_ == kOther; }
  // Neither of the two.
  constexpr bool is_step() const { return (bits_ & 0xffff) != 0; }
  constexpr bool is_from_frame_pointer() const { return (bits_ & kFromFramePointer) != 0; }
  constexpr size_t cfa_words() const { return bits_ & 0xffff; }
  constexpr size_t saved_words() const { return bits_ >> 16 & 0xff; }
  constexpr uint32_t bits() const { return bits_; }

  friend constexpr bool operator==(FrameRule, FrameRule) = default;

  static constexpr uint32_t kBits = 27;

 private:
  static constexpr uint32_t kFromFramePointer = 1u << 24;
  static constexpr uint32_t kOutermost = 1u << 25;
  static constexpr uint32_t kOther = 1u << 26;
  explicit constexpr FrameRule(uint32_t bits) : bits_(bits) {}
  uint32_t bits_ = 0;
};

// Reads the rule for a call that returns to `address` from the unwind tables.
FrameRule read_frame_rule(uintptr_t address);

// A cache: four rules per set, the newest replace older ones. One word holds the address and its rule, so
// that threads read and write it without a lock.
class FrameRules {
 public:
  FrameRule find(uintptr_t address) const {
    for (const auto& way : ways_) {
      const uint64_t word = way[address % kSets].load(std::memory_order_relaxed);
      if (word >> FrameRule::kBits == address / kSets) return FrameRule::from_bits(word & kRuleMask);
    }
    return {};
  }

  // The rule from the tables, kept for find() when `address` lies in the program or a loaded library: there
  // the code stays what it is. When a library was unloaded since the last call another one may lie in its
  // place: forgets everything, and answers other(), for the walk so far may have used what is no longer true.
  FrameRule learn(uintptr_t address);

 private:
  static constexpr size_t kSets = 4096;
  static constexpr size_t kWays = 4;
  static constexpr uint64_t kRuleMask = (uint64_t{1} << FrameRule::kBits) - 1;
  // 64 - 27 bits of tag and 12 of index hold any address of a user's program on x86-64, which has 47.
  static constexpr uint32_t kAddressBits = 47;

  void keep(uintptr_t address, FrameRule rule);
  void forget_all();

  // The first way is looked at first, and holds most rules: indexing it is one instruction of a walk's every
  // step.
  alignas(64) std::array<std::array<std::atomic<uint64_t>, kSets>, kWays> ways_{};
  std::atomic<uint64_t> unloads_{0};
};

}  // namespace lobit::detail
