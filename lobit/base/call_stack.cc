// Why a walk is right: the table of rules says for a return address what the unwinder would compute there, so
// a walk is the unwinder's own, without its search for the tables and without the registers that no rule of
// ours uses. What varies in a frame is no matter: after alloca the CFA is said relative to the frame pointer,
// whose value is carried along, from where each frame says that it saved its caller's. Nothing is assumed
// about which stack of the thread this is, so fibers and alternative stacks walk as well.
//
// The same code at an address means the same rule, as long as code does not change. That of loaded objects
// can only by unloading. A walk through new code that lies where old code was meets, sooner or later, a
// return address for which there is no rule; looking for one shows that a library was unloaded, all rules are
// forgotten and the unwinder walks. To go wrong for longer, every address of a walk would have to be one of
// the old code's too.
#include "lobit/base/call_stack.h"

#include <array>

#include <pthread.h>
#include <sys/mman.h>
#include <unwind.h>

#include "lobit/base/frame_rules_internal.h"
#include "lobit/base/stack_table_internal.h"
#include "lobit/base/unwound_stack_internal.h"

namespace lobit {
namespace detail {
namespace {

void* map_memory(size_t bytes) {
  void* memory =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

constinit FrameRules rules;
constinit StackTable table(StackTable::kMostStacks, map_memory);

[[maybe_unused]] const bool kSurvivesFork =
    ::pthread_atfork([] { table.lock(); }, [] { table.unlock(); }, [] { table.unlock(); }) == 0;

// Compilers' frames are far smaller, and a larger step is a sign of a wrong table.
constexpr uintptr_t kMaxFrameBytes = uintptr_t{1} << 32;

// Follows the rules from `caller` outwards. False where only the unwinder can go on.
// Reads words of other functions' frames, which sanitizers take for errors.
[[gnu::noinline]] __attribute__((no_sanitize("address", "thread", "undefined"))) bool walk(
    FrameRegisters caller, StackAddresses& stack) {
  auto [address, stack_pointer, frame_pointer] = caller;
  bool is_whole = true;
  size_t count = 0;
  while (count < kMaxStackFrames && address != 0) {
    stack.addresses[count++] = address;
    FrameRule rule = rules.find(address);
    if (!rule.is_known()) [[unlikely]]
      rule = rules.learn(address);
    if (!rule.is_step()) [[unlikely]] {
      is_whole = rule.is_outermost();
      break;
    }
    uintptr_t cfa = stack_pointer + 8 * rule.cfa_words();
    if (rule.is_from_frame_pointer()) {
      cfa = frame_pointer + 8 * rule.cfa_words();
      if (cfa - stack_pointer - 1 >= kMaxFrameBytes || cfa % 8 != 0) [[unlikely]] {
        is_whole = false;
        break;
      }
    }
    const auto* const behind = reinterpret_cast<const uintptr_t*>(cfa);  // NOLINT(performance-no-int-to-ptr)
    address = behind[-1];
    if (rule.saved_words() != 0) frame_pointer = *(behind - rule.saved_words());
    stack_pointer = cfa;
  }
  stack.count = count;
  return is_whole;
}

uint64_t hash_of(std::span<const uintptr_t> addresses) {
  uint64_t hash = addresses.size();
  for (const uintptr_t address : addresses) hash = (hash ^ address) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

}  // namespace

void unwind(FrameRegisters caller, StackAddresses& stack) {
  struct Walk {
    uintptr_t stack_pointer;
    StackAddresses& stack;
  } walk{caller.stack_pointer, stack};
  stack.count = 0;
  ::_Unwind_Backtrace(
      [](_Unwind_Context* context, void* argument) {
        auto& [stack_pointer, found] = *static_cast<Walk*>(argument);
        // The frames in between are this file's.
        if (::_Unwind_GetCFA(context) < stack_pointer) return _URC_NO_REASON;
        const uintptr_t address = ::_Unwind_GetIP(context);
        if (address == 0 || found.count == kMaxStackFrames) return _URC_END_OF_STACK;
        found.addresses[found.count++] = address;
        return _URC_NO_REASON;
      },
      &walk);
}

}  // namespace detail

[[gnu::noinline]] StackId capture_call_stack() {
  const detail::FrameRegisters caller = LOBIT_CALLER_REGISTERS();
  detail::StackAddresses stack;
  stack.count = 0;
  if (!detail::walk(caller, stack)) [[unlikely]]
    detail::unwind(caller, stack);
  if (stack.count == 0) return 0;
  return detail::table.intern(stack.span(), detail::hash_of(stack.span()));
}

std::span<const uintptr_t> stack_addresses(StackId id) {
  return detail::table.addresses(id);
}

size_t call_stack_count() {
  return detail::table.count();
}

uint64_t call_stack_bytes() {
  return detail::table.bytes();
}

}  // namespace lobit
