#include "lobit/memory/replay.h"

#include <array>
#include <string>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/logging_resource.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

constexpr TraceOp kFree = TraceOp::kFree;

// 300 bytes at most are live; 200 are left.
std::vector<TraceEvent> small_workload() {
  return {{.block = 1, .bytes = 100, .alignment = 64},
          {.block = 5, .bytes = 200, .alignment = 4096},
          {.op = kFree, .block = 1, .bytes = 100, .alignment = 64},
          {.op = TraceOp::kRefuse, .bytes = UINT64_MAX, .alignment = 64},
          {.op = TraceOp::kTrim, .bytes = 17},
          {.op = TraceOp::kUsage, .bytes = 4096},
          {.block = 6, .bytes = 50, .alignment = 1},
          {.op = kFree, .block = 6, .bytes = 50, .alignment = 1}};
}

TEST(Trace, KnowsSlotsAndPeakOfWhatWasMadeUp) {
  const Result<Trace> trace = Trace::from_events(small_workload());
  ASSERT_THAT(trace, is_ok());
  EXPECT_EQ(trace->slots(), 2u);
  EXPECT_EQ(trace->peak_live_bytes(), 300u);
  EXPECT_EQ(trace->events()[1].slot, 1u);
  EXPECT_EQ(trace->events()[6].slot, 0u) << "the slot of a freed block serves again";
}

TEST(Trace, RefusesEventsThatMakeNoSense) {
  std::vector<TraceEvent> events = small_workload();
  events.push_back({.op = kFree, .block = 6, .bytes = 50, .alignment = 1});
  const Result<Trace> trace = Trace::from_events(events);
  ASSERT_THAT(trace, fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(trace.error().detail.index, 8u);
}

TEST(Replay, RepeatsEveryEventAndFreesWhatIsLeft) {
  const Trace trace = *Trace::from_events(small_workload());
  SystemResource system;
  const ReplayResult result = replay(trace, system);
  EXPECT_EQ(result.events, 8u);
  EXPECT_EQ(result.allocations, 3u);
  EXPECT_EQ(result.frees, 3u);
  EXPECT_EQ(result.trims, 1u);
  EXPECT_EQ(result.trimmed_bytes, 0u) << "what the resource gave back, not what the trace says";
  EXPECT_EQ(result.peak_live_bytes, 300u);
  EXPECT_EQ(result.left_blocks, 1u);
  EXPECT_EQ(result.left_bytes, 200u);
  EXPECT_EQ(result.failed_allocations, 0u);
  EXPECT_EQ(result.failed_frees, 0u);
  EXPECT_FALSE(result.first_failure.has_value());
  EXPECT_EQ(system.usage().allocated, 0u);
  EXPECT_EQ(system.usage().peak_allocated, 300u);
  EXPECT_EQ(system.usage().allocations, 3u);
}

TEST(Replay, ToldToLogGivesTheSameTrace) {
  const Trace trace = *Trace::from_events(small_workload());
  TraceText text;
  SystemResource system;
  LoggingResource logging(system, text);
  static_cast<void>(replay(trace, logging));
  ASSERT_THAT(logging.close(), is_ok());
  const MemorySource source(std::as_bytes(std::span(text.text())), "log");
  const Trace again = *Trace::read(source);
  EXPECT_EQ(again.slots(), trace.slots());
  std::vector<TraceEvent> events(again.events().begin(), again.events().end());
  std::erase_if(events, [](const TraceEvent& event) { return event.op == TraceOp::kUsage; });
  ASSERT_EQ(events.size(), 7u);  // without the refusal, with the last free
  EXPECT_EQ(events[1].bytes, 200u);
  EXPECT_EQ(events[1].alignment, 4096u);
  EXPECT_EQ(events[6].block, 2u);
}

TEST(Replay, SaysWhatFailedAndGoesOn) {
  const Trace trace = *Trace::from_events(small_workload());
  SystemResource system;
  FailingResource failing(system, {.above_bytes = 150});
  const ReplayResult result = replay(trace, failing);
  EXPECT_EQ(result.events, 8u);
  EXPECT_EQ(result.allocations, 2u);
  EXPECT_EQ(result.frees, 2u);
  EXPECT_EQ(result.failed_allocations, 1u);
  EXPECT_EQ(result.failed_bytes, 200u);
  EXPECT_EQ(result.peak_live_bytes, 100u);
  EXPECT_EQ(result.left_blocks, 0u);
  ASSERT_TRUE(result.first_failure.has_value());
  EXPECT_EQ(result.first_failure->code, ErrorCode::kOutOfMemory);
  EXPECT_EQ(result.first_failure_event, 1u);
  EXPECT_EQ(system.usage().allocated, 0u);
}

TEST(Replay, EveryPlaceOfAFailureLeavesNothingBehind) {
  const Trace trace = *Trace::from_events(small_workload());
  SystemResource system;
  FailingResource failing(system);
  for (uint64_t number = 1;; ++number) {
    failing.set_plan({.number = number});
    const ReplayResult result = replay(trace, failing);
    EXPECT_EQ(result.failed_allocations, failing.failures());
    EXPECT_EQ(result.allocations + result.failed_allocations, 3u);
    EXPECT_EQ(system.usage().allocated, 0u);
    if (failing.failures() == 0) break;
  }
}

// Never takes anything back, and sees which bytes of its only block were written.
class OneBlock final : public MemoryResource {
 public:
  OneBlock() { bytes_.fill(std::byte{0xEE}); }
  std::vector<size_t> written() const {
    std::vector<size_t> places;
    for (size_t at = 0; at < bytes_.size(); ++at) {
      if (bytes_[at] != std::byte{0xEE}) places.push_back(at);
    }
    return places;
  }

 private:
  Result<void*> do_allocate(size_t, size_t, Stream) override { return bytes_.data(); }
  Status do_deallocate(void*, size_t, size_t, Stream) override {
    return fail(ErrorCode::kInvalidArgument, "deallocate: never");
  }
  MemoryUsage do_usage() const override { return {}; }
  std::array<std::byte, 16384> bytes_;
};

TEST(Replay, TouchesOneByteOfEachPageWhenAsked) {
  const Trace trace = *Trace::from_events({{.block = 1, .bytes = 8193, .alignment = 64}});
  OneBlock untouched;
  static_cast<void>(replay(trace, untouched, {.touch = Touch::kNothing}));
  EXPECT_TRUE(untouched.written().empty());
  OneBlock touched;
  static_cast<void>(replay(trace, touched, {.touch = Touch::kEveryPage}));
  EXPECT_EQ(touched.written(), (std::vector<size_t>{0, 4096, 8192}));
}

TEST(Replay, CountsFreesThatTheResourceRefuses) {
  const Trace trace = *Trace::from_events(
      {{.block = 1, .bytes = 10, .alignment = 1}, {.op = kFree, .block = 1, .bytes = 10, .alignment = 1}});
  OneBlock never;
  const ReplayResult result = replay(trace, never);
  EXPECT_EQ(result.failed_frees, 1u);
  EXPECT_EQ(result.frees, 0u);
  EXPECT_EQ(result.left_blocks, 0u);
  EXPECT_EQ(result.first_failure_event, 1u);
}

TEST(Replay, ReadsAlong) {
  std::string text(kTraceHeader);
  text +=
      "\nallocate,0,0,1,100,64,0,untagged,0,0\nallocate,0,0,2,50,64,0,untagged,0,0\nfree,0,0,1,100,64,0,"
      "untagged,0,0\n";
  SystemResource system;
  {
    const MemorySource source(std::as_bytes(std::span(text)), "trace");
    TraceReader reader = *TraceReader::open(source);
    const Result<ReplayResult> result = replay(reader, system);
    ASSERT_THAT(result, is_ok());
    EXPECT_EQ(result->events, 3u);
    EXPECT_EQ(result->frees, 2u);
    EXPECT_EQ(result->left_blocks, 1u);
    EXPECT_EQ(result->peak_live_bytes, 150u);
  }
  text += "free,0,0,1,100,64,0,untagged,0,0\n";
  const MemorySource source(std::as_bytes(std::span(text)), "trace");
  TraceReader reader = *TraceReader::open(source);
  EXPECT_THAT(replay(reader, system), fails_with(ErrorCode::kCorrupt));
  EXPECT_EQ(system.usage().allocations, 4u);
  EXPECT_EQ(system.usage().allocated, 0u) << "what was replayed before the error is freed";
}

}  // namespace
}  // namespace lobit
