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
//
// Each step of a walk waits for the one before, so what it found is kept with the places where it found that
// (stack_layout_internal.h). When the same words lie in the same places again the walk would find the same;
// comparing them costs a fraction, for no load waits for another. Which stack to compare with is guessed. A
// guess that holds has every address of a walk that was, so it is as right as that walk; with the rules that
// were forgotten their guesses are, for these have another key.
#include "lobit/base/call_stack.h"

#include <array>
#include <bit>

#include <pthread.h>
#include <sys/mman.h>
#include <unwind.h>

#include "lobit/base/call_stack_internal.h"
#include "lobit/base/frame_rules_internal.h"
#include "lobit/base/stack_guesses_internal.h"
#include "lobit/base/stack_layout_internal.h"
#include "lobit/base/stack_table_internal.h"

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
constinit StackGuesses guesses;

[[maybe_unused]] const bool kSurvivesFork =
    ::pthread_atfork([] { table.lock(); }, [] { table.unlock(); }, [] { table.unlock(); }) == 0;

// Compilers' frames are far smaller, and a larger step is a sign of a wrong table.
constexpr uintptr_t kMaxFrameBytes = uintptr_t{1} << 32;

// Follows the rules from `caller` outwards. False where only the unwinder can go on.
// Reads words of other functions' frames, which sanitizers take for errors.
[[gnu::noinline]] __attribute__((no_sanitize("address", "thread", "undefined"))) bool walk(
    const FrameRegisters& caller, StackAddresses& stack, StackLayout& layout) {
  auto [address, stack_pointer, frame_pointer] = caller;
  uintptr_t frame_pointer_place = 0;
  bool is_whole = true;
  size_t count = 0;
  while (address != 0) {
    stack.addresses[count++] = address;
    if (count == kMaxStackFrames) break;
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
      if (cfa - stack_pointer - 1 >= kMaxFrameBytes || (cfa - stack_pointer) % 8 != 0) [[unlikely]] {
        is_whole = false;
        break;
      }
      layout.add_frame_pointer(frame_pointer_place, frame_pointer);
    }
    const auto* const behind = reinterpret_cast<const uintptr_t*>(cfa);  // NOLINT(performance-no-int-to-ptr)
    address = behind[-1];
    layout.add_return_address(cfa - 8, address);
    if (rule.saved_words() != 0) {
      frame_pointer_place = cfa - 8 * rule.saved_words();
      frame_pointer = *(behind - rule.saved_words());
    }
    stack_pointer = cfa;
  }
  stack.count = count;
  return is_whole;
}

// Whether a walk from `caller` would find what lies in this layout. It is compared from the inside out: as
// far as it is equal, a walk would read the same words, and the first one that differs is the last one read.
// So nothing is read that is not the stack's.
__attribute__((no_sanitize("address", "thread", "undefined"))) bool lies_as(const StackTable::Layout& layout,
                                                                            const FrameRegisters& caller) {
  const uintptr_t* address = layout.addresses;
  if (*address != caller.return_address) return false;
  const auto* const stack =
      reinterpret_cast<const uintptr_t*>(caller.stack_pointer);  // NOLINT(performance-no-int-to-ptr)
  const uint32_t* word = layout.words.data();
  const uint32_t* const end = word + layout.words.size();
  while (word != end) {
    const uint32_t group = *word++;
    const auto check = static_cast<LayoutCheck>(group & kLayoutCheckMask);
    if (check == LayoutCheck::kEnd) {
      if (stack[*word++] != 0) return false;
    } else if (check != LayoutCheck::kNone) {
      const uintptr_t found =
          check == LayoutCheck::kSavedFramePointer ? stack[*word++] : caller.frame_pointer;
      if (found != reinterpret_cast<uintptr_t>(stack + static_cast<int32_t>(*word++))) return false;
    }
    for (const uint32_t* const next = word + (group & ~kLayoutCheckMask); word != next; ++word) {
      if (stack[*word] != *++address) return false;
    }
  }
  return true;
}

// Of what is known before a walk. The stack pointer tells depths apart; threads have theirs at equal places
// of other pages.
uint64_t guess_key(const FrameRegisters& caller, uintptr_t hint) {
  constexpr uintptr_t kPage = 4096;
  const uint64_t known = hint ^ std::rotl(uint64_t{caller.return_address}, 24) ^
                         uint64_t { caller.stack_pointer % kPage } << 32 ^ rules.forgotten() << 44;
  return known * 0x9e3779b97f4a7c15u;
}

uint64_t hash_of(std::span<const uintptr_t> addresses) {
  uint64_t hash = addresses.size();
  for (const uintptr_t address : addresses) hash = (hash ^ address) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

}  // namespace

StackId guess_stack(const FrameRegisters& caller, uintptr_t hint) {
  StackId id = 0;
  guesses.find(guess_key(caller, hint), [&](uint32_t number) {
    const StackTable::Layout layout = table.layout(number);
    if (!lies_as(layout, caller)) return false;
    id = layout.id;
    return true;
  });
  return id;
}

[[gnu::noinline]] StackId walk_stack(const FrameRegisters& caller, uintptr_t hint) {
  const uint64_t key = guess_key(caller, hint);
  StackAddresses stack;
  StackLayout layout(caller.stack_pointer);
  const bool is_whole = walk(caller, stack, layout);
  if (!is_whole) [[unlikely]]
    unwind(caller, stack);
  if (stack.count == 0) return 0;
  const StackId id = table.intern(stack.span(), hash_of(stack.span()));
  if (!is_whole || id == 0 || layout.words().empty()) return id;
  if (const uint32_t number = table.intern_layout(id, layout.words())) guesses.add(key, number);
  return id;
}

void unwind(const FrameRegisters& caller, StackAddresses& stack) {
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

[[gnu::noinline]] StackId capture_call_stack(uintptr_t hint) {
  const detail::FrameRegisters caller = LOBIT_CALLER_REGISTERS();
  const StackId guessed = detail::guess_stack(caller, hint);
  return guessed != 0 ? guessed : detail::walk_stack(caller, hint);
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
