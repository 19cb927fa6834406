#include "lobit/base/call_stack.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdarg>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include <alloca.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "lobit/base/frame_rules_internal.h"
#include "lobit/base/test_heap.h"
#include "lobit/base/unwound_stack_internal.h"

// Keeps a call from becoming the last instruction of its function, which then would be in no stack.
#define RETURN_HERE() asm volatile("" ::: "memory")
// Keeps a local array.
#define TOUCH(memory) asm volatile("" ::"r"(memory) : "memory")

namespace lobit {
namespace {

std::vector<uintptr_t> addresses_of(StackId id) {
  const auto addresses = stack_addresses(id);
  return {addresses.begin(), addresses.end()};
}

// What the unwinder says about the caller of the caller, and whether a capture says the same.
std::atomic<int> captures{0};
std::atomic<int> differences{0};

[[gnu::noinline]] StackId capture_checked() {
  const StackId id = capture_call_stack();
  detail::StackAddresses expected;
  detail::unwind(LOBIT_CALLER_REGISTERS(), expected);
  const auto found = stack_addresses(id);
  ++captures;
  // The frame of this function is in one of them only, so the unwinder sees one frame further.
  const size_t common = std::min(expected.count, kMaxStackFrames - 1);
  if (found.size() != common + 1 || !std::equal(found.begin() + 1, found.end(), expected.addresses.begin())) {
    ++differences;
  }
  return id;
}

class CallStack : public testing::Test {
 protected:
  void SetUp() override { captures = differences = 0; }
  void TearDown() override { EXPECT_EQ(differences, 0) << "of " << captures; }
};

[[gnu::noinline]] StackId leaf() {
  const StackId id = capture_checked();
  RETURN_HERE();
  return id;
}

// Two callers with equal frames, so that the stack pointer is the same below both.
[[gnu::noinline]] StackId through_a() {
  const StackId id = leaf();
  RETURN_HERE();
  return id;
}
[[gnu::noinline]] StackId through_b() {
  RETURN_HERE();
  const StackId id = leaf();
  RETURN_HERE();
  return id;
}

[[gnu::noinline]] StackId recurse(int depth) {
  const StackId id = depth == 0 ? leaf() : recurse(depth - 1);
  RETURN_HERE();
  return id;
}

TEST_F(CallStack, OfOnePlaceHasOneNumber) {
  std::set<StackId> ids;
  for (int i = 0; i < 100; ++i) ids.insert(leaf());
  EXPECT_EQ(ids.size(), 1u);
  EXPECT_FALSE(ids.contains(0));
}

TEST_F(CallStack, OfTwoCallersDiffersAtEqualDepth) {
  StackId (*const callers[])() = {through_a, through_b};
  std::set<StackId> ids[2];
  for (size_t i = 0; i < 4000; ++i) ids[i % 2].insert(callers[i % 2]());
  ASSERT_EQ(ids[0].size(), 1u);
  ASSERT_EQ(ids[1].size(), 1u);
  EXPECT_NE(ids[0], ids[1]);
  EXPECT_EQ(stack_addresses(*ids[0].begin()).size(), stack_addresses(*ids[1].begin()).size());
}

TEST_F(CallStack, GrowsByOneFrameForEachCall) {
  const size_t above = stack_addresses(recurse(0)).size();
  for (const int depth : {1, 2, 5, 3, 5, 1}) {
    const size_t expected = std::min(above + static_cast<size_t>(depth), kMaxStackFrames);
    EXPECT_EQ(stack_addresses(recurse(depth)).size(), expected) << depth;
  }
}

TEST_F(CallStack, IsCutAtItsOuterEnd) {
  const StackId deep = recurse(100);
  ASSERT_EQ(stack_addresses(deep).size(), kMaxStackFrames);
  EXPECT_EQ(deep, recurse(200)) << "the ends that differ are lost";
  const auto shallow = addresses_of(recurse(1));
  EXPECT_TRUE(std::equal(shallow.begin(), shallow.begin() + 3, stack_addresses(deep).begin()));
}

// A frame whose size the code does not tell: the callers of its caller lie elsewhere each time.
[[gnu::noinline]] StackId with_alloca(size_t bytes, const std::function<StackId()>& next) {
  TOUCH(alloca(bytes));
  const StackId id = next();
  RETURN_HERE();
  return id;
}

TEST_F(CallStack, IsTheSameWhateverAFrameHolds) {
  const std::function<StackId()> next = leaf;
  std::set<StackId> ids;
  for (size_t bytes = 1; bytes < 4000; bytes += 37) ids.insert(with_alloca(bytes, next));
  EXPECT_EQ(ids.size(), 1u);
}

// What a deeper stack left behind lies, unwritten, in the one large frame of the other: every word of the
// first stack is still where it was.
[[gnu::noinline]] StackId nested_alloca(int depth, size_t bytes) {
  TOUCH(alloca(bytes));
  const StackId id = depth == 0 ? leaf() : nested_alloca(depth - 1, bytes);
  RETURN_HERE();
  return id;
}

TEST_F(CallStack, IsNotTakenFromWhatAnEarlierOneLeft) {
  for (size_t large = 32; large < 1024; large += 16) {
    const StackId deep = nested_alloca(2, 32);
    const StackId flat = nested_alloca(0, large);
    EXPECT_EQ(stack_addresses(deep).size(), stack_addresses(flat).size() + 2);
  }
}

// Frames of every kind, in trees that chance makes.
struct Tree {
  std::mt19937 random;
  int budget;
  void grow(int depth);
};

struct Virtual {
  virtual ~Virtual() = default;
  [[gnu::noinline]] virtual void call(Tree& tree, int depth) const {
    tree.grow(depth);
    RETURN_HERE();
  }
};
struct LargeVirtual final : Virtual {
  [[gnu::noinline]] void call(Tree& tree, int depth) const override {
    char room[3000];
    TOUCH(room);
    tree.grow(depth);
    RETURN_HERE();
  }
};

[[gnu::noinline]] void plain(Tree& tree, int depth) {
  tree.grow(depth);
  RETURN_HERE();
}
[[gnu::noinline]] void with_room(Tree& tree, int depth) {
  TOUCH(alloca(1 + tree.random() % 2000));
  tree.grow(depth);
  RETURN_HERE();
}
[[gnu::noinline]] void aligned(Tree& tree, int depth) {
  alignas(128) char room[128];
  TOUCH(room);
  tree.grow(depth);
  RETURN_HERE();
}
[[gnu::noinline]] void aligned_with_room(Tree& tree, int depth) {
  alignas(64) char room[64];
  TOUCH(room);
  TOUCH(alloca(1 + tree.random() % 500));
  tree.grow(depth);
  RETURN_HERE();
}
[[gnu::noinline]] void variadic(Tree* tree, int depth, ...) {
  va_list arguments;
  va_start(arguments, depth);
  const int sum = va_arg(arguments, int) + static_cast<int>(va_arg(arguments, double));
  va_end(arguments);
  TOUCH(sum);
  tree->grow(depth);
  RETURN_HERE();
}
[[gnu::noinline]] void throwing(Tree& tree, int depth) {
  try {
    tree.grow(depth);
    if (tree.random() % 2 == 0) throw std::runtime_error("caught two lines below");
    capture_checked();
  } catch (const std::runtime_error&) {
    tree.grow(depth);
  }
  RETURN_HERE();
}
[[gnu::noinline]] void many_registers(Tree& tree, int depth) {
  std::array<unsigned, 12> values{};
  for (unsigned& value : values) value = static_cast<unsigned>(tree.random());
  tree.grow(depth);
  for (const unsigned value : values) TOUCH(value);
}

void Tree::grow(int depth) {
  if (--budget < 0) return;
  if (depth == 0 || random() % 8 == 0) {
    capture_checked();
    return;
  }
  const size_t children = 1 + random() % 3;
  for (size_t i = 0; i < children; ++i) {
    switch (random() % 9) {
      case 0:
        plain(*this, depth - 1);
        break;
      case 1:
        with_room(*this, depth - 1);
        break;
      case 2:
        aligned(*this, depth - 1);
        break;
      case 3:
        aligned_with_room(*this, depth - 1);
        break;
      case 4:
        variadic(this, depth - 1, 1, 2.0);
        break;
      case 5:
        throwing(*this, depth - 1);
        break;
      case 6:
        many_registers(*this, depth - 1);
        break;
      case 7: {
        const std::unique_ptr<Virtual> object =
            random() % 2 == 0 ? std::make_unique<Virtual>() : std::make_unique<LargeVirtual>();
        object->call(*this, depth - 1);
        break;
      }
      default: {
        const std::function<void()> call = [this, depth] { plain(*this, depth - 1); };
        call();
      }
    }
  }
}

TEST_F(CallStack, IsTheUnwindersInAnyTreeOfCalls) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    Tree{.random = std::mt19937(seed), .budget = 500}.grow(12);
  }
  EXPECT_GT(captures, 2000);
}

TEST_F(CallStack, IsTheUnwindersInManyThreads) {
  for (unsigned round = 0; round < 3; ++round) {
    std::vector<std::jthread> threads;
    for (unsigned seed = 0; seed < 8; ++seed) {
      threads.emplace_back([seed] { Tree{.random = std::mt19937(seed), .budget = 300}.grow(10); });
    }
  }
  EXPECT_GT(captures, 24);
}

StackId in_thread() {
  StackId id = 0;
  std::thread([&id] { id = leaf(); }).join();
  return id;
}

TEST_F(CallStack, HasOneNumberInAllThreads) {
  const StackId id = in_thread();
  EXPECT_NE(id, 0u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(in_thread(), id);
}

// Destroyed when its thread ends, after the thread's function.
struct CapturesAtExit {
  std::atomic<StackId>* id = nullptr;
  ~CapturesAtExit() {
    if (id != nullptr) *id = leaf();
  }
};

TEST_F(CallStack, IsKnownWhileAThreadEnds) {
  static std::atomic<StackId> id{0};
  std::thread([] {
    static thread_local CapturesAtExit captures_at_exit;
    captures_at_exit.id = &id;
  }).join();
  EXPECT_NE(id, 0u);
}

ucontext_t outside;
ucontext_t inside;
std::vector<size_t> fiber_depths;
void fiber() {
  for (const int depth : {3, 0, 7}) {
    fiber_depths.push_back(stack_addresses(recurse(depth)).size());
    ::swapcontext(&inside, &outside);
  }
}

TEST_F(CallStack, OfAFiberEndsWithIt) {
  std::vector<char> memory(256 << 10);
  ASSERT_EQ(::getcontext(&inside), 0);
  inside.uc_stack = {.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
  inside.uc_link = &outside;
  ::makecontext(&inside, fiber, 0);
  fiber_depths.clear();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(::swapcontext(&outside, &inside), 0);
    leaf();
  }
  ASSERT_EQ(fiber_depths.size(), 3u);
  EXPECT_EQ(fiber_depths[0], fiber_depths[1] + 3);
  EXPECT_EQ(fiber_depths[2], fiber_depths[1] + 7);
}

TEST_F(CallStack, GoesThroughASignalsFrame) {
  static StackId id = 0;
  const auto previous = std::signal(SIGUSR1, [](int) { id = leaf(); });
  const size_t outside_frames = stack_addresses(leaf()).size();
  ASSERT_EQ(::raise(SIGUSR1), 0);
  std::signal(SIGUSR1, previous);
  EXPECT_GT(stack_addresses(id).size(), outside_frames);
}

TEST_F(CallStack, IsCapturedInTheChildOfAFork) {
  std::atomic<bool> stop{false};
  std::jthread busy([&stop] {
    for (unsigned seed = 0; !stop; ++seed) Tree{.random = std::mt19937(seed), .budget = 50}.grow(8);
  });
  const StackId id = through_a();
  for (int i = 0; i < 5; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(20);
      ::_exit(recurse(i) != 0 && call_stack_count() >= id ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  stop = true;
}

TEST_F(CallStack, TakesNothingFromTheHeap) {
  if (!heap_is_counted()) GTEST_SKIP() << "sanitizers bring their own heap";
  const FailingHeap heap(1);
  EXPECT_NE(capture_call_stack(), 0u);
  EXPECT_FALSE(heap.failed());
}

TEST_F(CallStack, IsCountedWithItsMemory) {
  leaf();
  const size_t count = call_stack_count();
  const uint64_t bytes = call_stack_bytes();
  const StackId id = capture_call_stack();
  EXPECT_EQ(call_stack_count(), count + 1);
  EXPECT_EQ(call_stack_bytes(), bytes + 8 * (stack_addresses(id).size() + 1) + 4);
  EXPECT_TRUE(stack_addresses(0).empty());
  EXPECT_TRUE(stack_addresses(static_cast<StackId>(call_stack_count() + 1)).empty());
}

#if defined(__x86_64__)
uintptr_t address_here() {
  return stack_addresses(capture_call_stack()).front();
}

TEST(FrameRules, AreLearntOnceAndForgottenWhenALibraryGoes) {
  const auto rules = std::make_unique<detail::FrameRules>();
  const uintptr_t address = address_here();
  rules->learn(address);  // takes notice of what was unloaded before
  EXPECT_TRUE(rules->learn(address).is_step());
  EXPECT_EQ(rules->find(address), detail::read_frame_rule(address));
  EXPECT_FALSE(rules->find(address + 1).is_known());
  void* const library = ::dlopen("libBrokenLocale.so.1", RTLD_NOW);
  ASSERT_NE(library, nullptr);
  ASSERT_EQ(::dlclose(library), 0);
  EXPECT_TRUE(rules->learn(address_here() + 1).is_other());
  EXPECT_FALSE(rules->find(address).is_known());
  EXPECT_TRUE(rules->learn(address).is_step());
}

TEST(FrameRules, AreEnoughForCompiledCode) {
  const auto stack = stack_addresses(recurse(2));
  for (size_t i = 0; i + 1 < stack.size(); ++i) {
    EXPECT_TRUE(detail::read_frame_rule(stack[i]).is_step()) << i;
  }
  EXPECT_TRUE(detail::read_frame_rule(stack.back()).is_outermost());
}

TEST(FrameRules, OfOneSetPushEachOtherOut) {
  const auto rules = std::make_unique<detail::FrameRules>();
  // More addresses of this program than a set holds: one in each page has the same set.
  const uintptr_t first = address_here();
  std::vector<uintptr_t> known;
  for (uintptr_t address = first; known.size() < 6; address += 4096) {
    if (!detail::read_frame_rule(address).is_step()) continue;
    rules->learn(address);
    if (rules->learn(address).is_step()) known.push_back(address);
  }
  size_t found = 0;
  for (const uintptr_t address : known) {
    const detail::FrameRule rule = rules->find(address);
    if (!rule.is_known()) continue;
    EXPECT_EQ(rule, detail::read_frame_rule(address));
    ++found;
  }
  EXPECT_LE(found, 4u);
  EXPECT_TRUE(rules->find(known.back()).is_known());
}

TEST(FrameRules, AreNotMadeForWhatIsNoCode) {
  const auto rules = std::make_unique<detail::FrameRules>();
  const int on_stack = 0;
  for (const uintptr_t address :
       {uintptr_t{1}, uintptr_t{4096}, reinterpret_cast<uintptr_t>(&on_stack), UINTPTR_MAX}) {
    EXPECT_TRUE(rules->learn(address).is_other()) << address;
    EXPECT_FALSE(rules->find(address).is_known()) << address;
  }
}
#endif

}  // namespace
}  // namespace lobit
