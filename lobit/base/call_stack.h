// The calling thread's stack in a few nanoseconds per frame, or one where it was met before, and what it
// means in the source, which is looked up when somebody asks. Stacks are kept once each in a table of the
// process, for its whole life: 65,535 of them, 34 MiB of address space of which only what is used is touched.
// Any thread may call everything here, but not a signal handler.
//
// The stack is walked with what the unwind tables (.eh_frame) say about each return address, which is read
// once and then remembered. Code needs no frame pointers. Where only the system's unwinder can go on (frames
// of signals, code without tables, frames realigned for aligned locals and variable arguments at once; any
// frame on another processor than x86-64) it walks, which takes microseconds. A walk ends where the
// unwinder's would: at the start of the thread, or of a fiber.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/base/stack_frame.h"

namespace lobit {

// A stack's number in the process. 0: none is known.
using StackId = uint32_t;

// Deeper stacks lose their outer end.
inline constexpr size_t kMaxStackFrames = 32;

// The stack of the caller, whose own frame is the first. Equal stacks have equal numbers. 0 when the table is
// full or memory is short. Allocates nothing on the heap.
// `hint`: any number that tends to differ where stacks do, such as an address that a function further out
// returns to. It changes nothing but the speed.
LOBIT_API StackId capture_call_stack(uintptr_t hint = 0);

// The addresses that the calls return to, the innermost first. Valid for ever, read without a lock; empty for
// a number that was not captured in this process.
LOBIT_API std::span<const uintptr_t> stack_addresses(StackId id);

LOBIT_API size_t call_stack_count();
// What they, and the table, take.
LOBIT_API uint64_t call_stack_bytes();

// Where in the source the calls are, by the debug information (DWARF) of the program and its libraries, read
// from their files; takes milliseconds and, while it runs, memory in the order of these files. An inlined
// call is a frame of its own, so a trace may be longer than its stack. Where there is no debug information
// the function is the symbol's and the file is the program or library, with line 0. Where there is no symbol
// the function is "libfoo.so+0x1234", which addr2line -e understands, or "0x7f0000001234" where there is no
// file.
LOBIT_API StackTrace symbolize(std::span<const uintptr_t> addresses);
LOBIT_API StackTrace stack_trace(StackId id);
// Reads the debug information once for all.
LOBIT_API std::vector<StackTrace> stack_traces(std::span<const StackId> ids);

}  // namespace lobit
