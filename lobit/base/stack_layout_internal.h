// StackLayout: everything that a walk over a stack read from it, and where it read that, as distances from
// the stack pointer at which the walk began. If the same words are there again, a walk goes the same way: the
// first return address and stack pointer are given; where both are equal the rule of the frame is, and so
// are, with the frame pointer if the rule uses one, the frame's end and all places where the next words lie.
// Frame pointers that no rule used are not among the words, for functions without need of one keep other
// values in it. Plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "lobit/base/call_stack.h"

namespace lobit::detail {

// A layout is groups of words: what to check first, with the count of return addresses that follow; what the
// check needs; then for each return address how many words above the stack pointer it lies.
enum class LayoutCheck : uint32_t {
  kNone = 0,
  // Place, in words above the stack pointer: there is no return address, but 0.
  kEnd = 1u << 30,
  // Place and value, both in words from the stack pointer; the value may be below.
  kSavedFramePointer = 2u << 30,
  // Value. In the register, as it was when the walk began.
  kFramePointerRegister = 3u << 30
};
inline constexpr uint32_t kLayoutCheckMask = 3u << 30;

class StackLayout {
 public:
  // The first group has no check. Each frame but the last has a return address, and may begin a group.
  static constexpr size_t kMostWords = 1 + 4 * (kMaxStackFrames - 1);

  explicit StackLayout(uintptr_t stack_pointer) : origin_(stack_pointer) { words_[0] = 0; }

  void add_return_address(uintptr_t place, uintptr_t address) {
    if (address != 0) {
      ++words_[group_];
    } else {
      begin_group(LayoutCheck::kEnd);
    }
    add_distance(place);
    last_ = place;
  }
  // A value that was read at `place`, or 0 for that of the register.
  void add_frame_pointer(uintptr_t place, uintptr_t value) {
    if (place == 0) {
      begin_group(LayoutCheck::kFramePointerRegister);
    } else {
      begin_group(LayoutCheck::kSavedFramePointer);
      is_above_ = is_above_ && place >= origin_;
      add_distance(place);
    }
    add_distance(value);
  }

  // Empty when there is none, or distances are too long for a word.
  std::span<const uint32_t> words() const {
    const bool fits = is_above_ && count_ > 1 && (last_ - origin_) / 8 <= INT32_MAX;
    return {words_.data(), fits ? count_ : 0};
  }

 private:
  void begin_group(LayoutCheck check) {
    group_ = count_;
    words_[count_++] = static_cast<uint32_t>(check);
  }
  void add_distance(uintptr_t place) { words_[count_++] = static_cast<uint32_t>((place - origin_) / 8); }

  std::array<uint32_t, kMostWords> words_;  // not initialised, for speed
  size_t count_ = 1;
  size_t group_ = 0;
  uintptr_t origin_;
  uintptr_t last_ = origin_;
  bool is_above_ = true;
};

}  // namespace lobit::detail
