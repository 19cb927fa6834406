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

// One word that was read: what for and, in its other bits, how many words above the stack pointer. Behind a
// frame pointer follows its value, in words from the stack pointer, which may be below.
enum class LayoutStep : uint32_t {
  kReturnAddress = 0,               // the next one of the stack
  kEnd = 1u << 30,                  // no return address, but 0
  kSavedFramePointer = 2u << 30,    // in a frame
  kFramePointerRegister = 3u << 30  // as it was when the walk began
};
inline constexpr uint32_t kLayoutStepMask = 3u << 30;

class StackLayout {
 public:
  // Of every frame but the last.
  static constexpr size_t kMostSteps = 3 * (kMaxStackFrames - 1);

  explicit StackLayout(uintptr_t stack_pointer) : origin_(stack_pointer) {}

  void add_return_address(uintptr_t place, uintptr_t address) {
    add(address == 0 ? LayoutStep::kEnd : LayoutStep::kReturnAddress, place);
    last_ = place;
  }
  // A value that was read at `place`, or 0 for that of the register.
  void add_frame_pointer(uintptr_t place, uintptr_t value) {
    if (place == 0) {
      add(LayoutStep::kFramePointerRegister, origin_);
    } else {
      is_above_ = is_above_ && place >= origin_;
      add(LayoutStep::kSavedFramePointer, place);
    }
    steps_[count_++] = static_cast<uint32_t>((value - origin_) / 8);
  }

  // Empty when there is none, or distances are too long for a step.
  std::span<const uint32_t> steps() const {
    const bool fits = is_above_ && (last_ - origin_) / 8 <= ~kLayoutStepMask;
    return {steps_.data(), fits ? count_ : 0};
  }

 private:
  void add(LayoutStep step, uintptr_t place) {
    steps_[count_++] = static_cast<uint32_t>(step) | static_cast<uint32_t>((place - origin_) / 8);
  }

  std::array<uint32_t, kMostSteps> steps_;  // not initialised, for speed
  size_t count_ = 0;
  uintptr_t origin_;
  uintptr_t last_ = origin_;
  bool is_above_ = true;
};

}  // namespace lobit::detail
