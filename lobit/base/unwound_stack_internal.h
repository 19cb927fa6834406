// The system's unwinder, as capture_call_stack() falls back on it and tests compare with it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "lobit/base/call_stack.h"

namespace lobit::detail {

// Of a function that waits for a call to return.
struct FrameRegisters {
  uintptr_t return_address;  // of that call
  uintptr_t stack_pointer;   // when it has returned
  uintptr_t frame_pointer;
};

// Of the caller of the function that this is written in, which must not be inlined. The builtin makes a
// compiler begin it with a frame: the caller's frame pointer, and the return address above.
#define LOBIT_CALLER_REGISTERS() \
  ::lobit::detail::registers_above(static_cast<const uintptr_t*>(__builtin_frame_address(0)))

[[gnu::always_inline]] inline FrameRegisters registers_above(const uintptr_t* frame) {
  return {frame[1], reinterpret_cast<uintptr_t>(frame + 2), frame[0]};
}

struct StackAddresses {
  std::array<uintptr_t, kMaxStackFrames> addresses;  // not initialised, for speed
  size_t count;
  std::span<const uintptr_t> span() const { return {addresses.data(), count}; }
};

// What the unwinder says of the stack from `caller` outwards. On other processors than x86-64 the frames of
// whoever captures may be among the first.
void unwind(FrameRegisters caller, StackAddresses& stack);

}  // namespace lobit::detail
