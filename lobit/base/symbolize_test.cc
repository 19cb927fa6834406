#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/base/call_stack.h"

#define RETURN_HERE() asm volatile("" ::: "memory")

namespace lobit {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

struct Captured {
  StackId id;
  std::vector<uint32_t> lines;  // of the calls, the innermost first
};

[[gnu::always_inline]] inline void inlined(Captured& out) {
  out.id = capture_call_stack(), out.lines.push_back(__LINE__);
  RETURN_HERE();
}

struct Member {
  [[gnu::noinline]] static void call(Captured& out) {
    RETURN_HERE();
    inlined(out), out.lines.push_back(__LINE__);
    RETURN_HERE();
  }
};

[[gnu::noinline]] Captured outer_function(int) {
  Captured out{};
  Member::call(out), out.lines.push_back(__LINE__);
  RETURN_HERE();
  return out;
}

// The tests of all presets are built with debug information.
TEST(Symbolize, NamesFunctionFileAndLineOfEachCall) {
  const Captured captured = outer_function(1);
  const StackTrace trace = stack_trace(captured.id);
  ASSERT_GT(trace.size(), 4u);
  EXPECT_THAT(trace[0].function, StartsWith("lobit::(anonymous namespace)::inlined"));
  EXPECT_THAT(trace[1].function, StartsWith("lobit::(anonymous namespace)::Member::call("));
  EXPECT_EQ(trace[2].function, "lobit::(anonymous namespace)::outer_function(int)");
  EXPECT_THAT(trace[3].function, HasSubstr("NamesFunctionFileAndLineOfEachCall"));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_THAT(trace[i].file, EndsWith("lobit/base/symbolize_test.cc"));
    EXPECT_THAT(trace[i].file, StartsWith("/"));
    EXPECT_EQ(trace[i].line, captured.lines[i]) << i;
  }
  EXPECT_TRUE(
      std::any_of(trace.begin(), trace.end(), [](const auto& frame) { return frame.function == "main"; }));
}

TEST(Symbolize, ReadsManyStacksAtOnce) {
  const StackId first = outer_function(1).id;
  RETURN_HERE();
  const StackId second = outer_function(2).id;
  ASSERT_NE(first, second);
  const StackId ids[] = {first, second, 0, first};
  EXPECT_THAT(stack_traces(ids),
              ElementsAre(stack_trace(first), stack_trace(second), IsEmpty(), stack_trace(first)));
}

// What another's library, of which there may be no debug information, shows is at least its symbol or its
// file.
TEST(Symbolize, NamesTheSymbolOrTheFileWhereThereIsNoMore) {
  const auto known = reinterpret_cast<uintptr_t>(&std::fopen);
  const uintptr_t addresses[] = {known + 1};
  const StackTrace trace = symbolize(addresses);
  ASSERT_FALSE(trace.empty());
  EXPECT_THAT(trace.back().function, HasSubstr("fopen"));
  EXPECT_FALSE(trace.back().file.empty());
}

TEST(Symbolize, ShowsAnAddressThatLiesNowhere) {
  const uintptr_t addresses[] = {0x1234};
  EXPECT_THAT(symbolize(addresses), ElementsAre(StackFrame{.function = "0x1234"}));
  EXPECT_THAT(symbolize({}), IsEmpty());
}

}  // namespace
}  // namespace lobit
