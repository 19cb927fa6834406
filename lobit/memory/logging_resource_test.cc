#include "lobit/memory/logging_resource.h"

#include <array>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/io/file.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/replay.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

std::vector<TraceEvent> all_events_of(const std::string& text) {
  const MemorySource source(std::as_bytes(std::span(text)), "trace");
  const Result<Trace> trace = Trace::read(source);
  EXPECT_THAT(trace, is_ok());
  if (!trace) return {};
  return {trace->events().begin(), trace->events().end()};
}

// Without those that only say how much is committed.
std::vector<TraceEvent> events_of(const std::string& text) {
  std::vector<TraceEvent> events = all_events_of(text);
  std::erase_if(events, [](const TraceEvent& event) { return event.op == TraceOp::kUsage; });
  return events;
}

std::string ops_of(const std::string& text) {
  std::string ops;
  for (const TraceEvent& event : all_events_of(text)) ops += "afrtu"[static_cast<size_t>(event.op)];
  return ops;
}

TEST(LoggingResource, WritesEachEvent) {
  TraceText text;
  SystemResource system;
  FailingResource failing(system, {.number = 3});
  LoggingResource logging(failing, text);
  Backend& cpu = **backend(Device{});
  const Stream stream = *cpu.create_stream();
  void* a = *logging.allocate(100);
  void* b = *logging.allocate(200, 4096, stream);
  EXPECT_FALSE(logging.allocate(300, 16));
  ASSERT_THAT(logging.deallocate(a, 100), is_ok());
  std::thread([&] { ASSERT_THAT(logging.deallocate(b, 200, 4096, stream), is_ok()); }).join();
  EXPECT_EQ(logging.trim(), 0u);
  ASSERT_THAT(logging.close(), is_ok());

  std::vector<TraceEvent> events = events_of(text.text());
  uint64_t last_time = 0;
  for (TraceEvent& event : events) {
    EXPECT_GE(event.time_ns, last_time);
    last_time = std::exchange(event.time_ns, 0);
    event.address = 0;
  }
  const std::vector<TraceEvent> expected = {
      {.block = 1, .bytes = 100, .alignment = 64},
      {.stream = 1, .block = 2, .bytes = 200, .alignment = 4096, .slot = 1},
      {.op = TraceOp::kRefuse, .bytes = 300, .alignment = 16},
      {.op = TraceOp::kFree, .block = 1, .bytes = 100, .alignment = 64},
      {.op = TraceOp::kFree,
       .thread = 1,
       .stream = 1,
       .block = 2,
       .bytes = 200,
       .alignment = 4096,
       .slot = 1},
      {.op = TraceOp::kTrim}};
  EXPECT_EQ(events, expected);
  EXPECT_THAT(cpu.destroy_stream(stream), is_ok());
}

TEST(LoggingResource, WritesTagsAndAddressesOfBlocks) {
  TraceText text;
  SystemResource system;
  LoggingResource logging(system, text);
  const MemoryTag own = *memory_tag("logging_test");
  void* block = nullptr;
  {
    const ScopedMemoryTag tag(own);
    block = *logging.allocate(100);
    const ScopedMemoryTag weights(MemoryTag::kWeights);
    EXPECT_FALSE(logging.allocate(SIZE_MAX));
  }
  ASSERT_THAT(logging.deallocate(block, 100), is_ok()) << "by a thread without the tag";
  ASSERT_THAT(logging.close(), is_ok());
  const std::vector<TraceEvent> events = events_of(text.text());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].address, reinterpret_cast<uintptr_t>(block));
  EXPECT_EQ(events[1].address, 0u);
  EXPECT_EQ(events[2].address, reinterpret_cast<uintptr_t>(block));
  EXPECT_EQ(events[0].tag, 1u);
  EXPECT_EQ(events[1].tag, 2u);
  EXPECT_EQ(events[2].tag, 1u);
  EXPECT_NE(text.text().find(",logging_test,"), std::string::npos);
  EXPECT_NE(text.text().find(",weights,"), std::string::npos);
}

TEST(LoggingResource, WritesWhatIsCommittedAsOftenAsItIsTold) {
  SystemResource system;
  const auto run = [&system](std::chrono::nanoseconds interval) {
    TraceText text;
    FailingResource failing(system, {.number = 3});
    LoggingResource logging(failing, text, {.usage_interval = interval});
    void* a = *logging.allocate(100);
    void* b = *logging.allocate(100);
    EXPECT_FALSE(logging.allocate(100));
    EXPECT_THAT(logging.deallocate(a, 100), is_ok());
    EXPECT_THAT(logging.deallocate(b, 100), is_ok());
    EXPECT_EQ(logging.trim(), 0u);
    EXPECT_THAT(logging.close(), is_ok());
    return text.text();
  };
  EXPECT_EQ(ops_of(run(std::chrono::nanoseconds(0))), "auauruufuftuu");
  EXPECT_EQ(ops_of(run(std::chrono::hours(1000))), "auarufftuu")
      << "the first, and after a refusal, a trim and at the end";
}

TEST(LoggingResource, WritesHowMuchTheResourceBelowHasCommitted) {
  TraceText text;
  SystemResource system;
  LoggingResource logging(system, text);
  void* block = *logging.allocate(100000);
  const uint64_t committed = system.usage().committed;
  ASSERT_THAT(logging.close(), is_ok());
  EXPECT_GE(committed, 100000u);
  const std::vector<TraceEvent> events = all_events_of(text.text());
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].bytes, committed);
  EXPECT_EQ(events[2].bytes, committed);
  ASSERT_THAT(logging.deallocate(block, 100000), is_ok());
}

[[gnu::noinline]] void* allocate_as_traced(MemoryResource& resource, size_t bytes) {
  Result<void*> block = resource.allocate(bytes);
  EXPECT_THAT(block, is_ok());
  return block.value_or(nullptr);
}

TEST(LoggingResource, WritesFactsAndTheStacksOfAllocations) {
  for (const StackCapture stacks : {StackCapture::kNone, StackCapture::kRecorded}) {
    TraceText text;
    SystemResource system;
    LoggingResource logging(system, text, {.name = "a test", .limit = 4096, .stacks = stacks});
    const volatile int rounds = 2;  // an unrolled loop calls from two places
    for (int i = 0; i < rounds; ++i) {
      ASSERT_THAT(logging.deallocate(allocate_as_traced(logging, 100), 100), is_ok());
    }
    ASSERT_THAT(logging.deallocate(*logging.allocate(100), 100), is_ok());
    EXPECT_FALSE(logging.allocate(SIZE_MAX));
    ASSERT_THAT(logging.close(), is_ok());
    const std::string facts = std::string(kTraceHeader) + "\n#name a test\n#limit 4096\n";
    EXPECT_TRUE(text.text().starts_with(facts)) << text.text();
    const bool has_stacks = stacks == StackCapture::kRecorded;
    EXPECT_EQ(text.text().find("\n#stack ") != std::string::npos, has_stacks);
    EXPECT_EQ(text.text().find("allocate_as_traced") != std::string::npos, has_stacks);
    std::vector<uint32_t> of_allocations;
    for (const TraceEvent& event : events_of(text.text())) {
      if (event.op == TraceOp::kAllocate) of_allocations.push_back(event.stack);
    }
    ASSERT_EQ(of_allocations.size(), 3u);
    EXPECT_EQ(of_allocations[0], of_allocations[1]);
    EXPECT_EQ(of_allocations[0] != of_allocations[2], has_stacks);
    EXPECT_EQ(of_allocations[0] != 0, has_stacks);
  }
}

TEST(LoggingResource, MisuseLeavesNoEvent) {
  TraceText text;
  SystemResource system;
  LoggingResource logging(system, text);
  void* outside = *system.allocate(100);
  void* block = *logging.allocate(100);
  EXPECT_THAT(logging.deallocate(outside, 100), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(logging.deallocate(block, 101), fails_with(ErrorCode::kInvalidArgument));
  ASSERT_THAT(logging.deallocate(block, 100), is_ok());
  EXPECT_THAT(logging.deallocate(block, 100), fails_with(ErrorCode::kInvalidArgument));
  ASSERT_THAT(logging.close(), is_ok());
  EXPECT_EQ(events_of(text.text()).size(), 2u);
  ASSERT_THAT(system.deallocate(outside, 100), is_ok());
}

TEST(LoggingResource, WorksOnAfterItsTraceIsClosed) {
  TraceText text;
  SystemResource system;
  LoggingResource logging(system, text);
  void* block = *logging.allocate(100);
  ASSERT_THAT(logging.close(), is_ok());
  EXPECT_THAT(logging.close(), fails_with(ErrorCode::kInvalidArgument));
  ASSERT_THAT(logging.deallocate(block, 100), is_ok());
  block = *logging.allocate(100);
  ASSERT_THAT(logging.deallocate(block, 100), is_ok());
  EXPECT_EQ(events_of(text.text()).size(), 1u);
}

TEST(LoggingResource, ClosesItsTraceWhenItGoes) {
  const TemporaryFolder folder;
  SystemResource system;
  Result<TraceFile> file = TraceFile::create(folder.path() / "trace.csv");
  ASSERT_THAT(file, is_ok());
  {
    LoggingResource logging(system, *file);
    ASSERT_THAT(logging.deallocate(*logging.allocate(100), 100), is_ok());
  }
  EXPECT_EQ(events_of(*read_file(folder.path() / "trace.csv", 4096)).size(), 2u);
}

// Hands the memory of a block out again while that block is still being freed, as another thread might see
// it.
class HandsOutAtOnce final : public MemoryResource {
 public:
  MemoryResource* above = nullptr;  // who asks

 private:
  Result<void*> do_allocate(size_t, size_t, Stream) override { return place_.data(); }
  Status do_deallocate(void*, size_t, size_t, Stream) override {
    if (above != nullptr) {
      EXPECT_EQ(*std::exchange(above, nullptr)->allocate(200), place_.data());
    }
    return {};
  }
  MemoryUsage do_usage() const override { return {}; }
  alignas(kDefaultAlignment) std::array<std::byte, 256> place_{};
};

TEST(LoggingResource, WritesTheFreeBeforeTheMemoryServesAgain) {
  TraceText text;
  HandsOutAtOnce below;
  LoggingResource logging(below, text);
  void* block = *logging.allocate(100);
  below.above = &logging;
  ASSERT_THAT(logging.deallocate(block, 100), is_ok());
  ASSERT_THAT(logging.deallocate(block, 200), is_ok()) << "the second block is known";
  ASSERT_THAT(logging.close(), is_ok());
  std::vector<uint64_t> blocks;
  for (const TraceEvent& event : events_of(text.text())) blocks.push_back(event.block);
  EXPECT_EQ(blocks, (std::vector<uint64_t>{1, 1, 2, 2}));
}

class FullDisk final : public TraceSink {
 public:
  Status write(std::string_view) override { return fail(ErrorCode::kIo, "disk: full"); }
  Status close() override { return {}; }
};

TEST(LoggingResource, TellsErrorsOfTheFileWhenItIsClosed) {
  FullDisk disk;
  SystemResource system;
  LoggingResource logging(system, disk);
  // More than the buffer holds.
  for (int i = 0; i < 3000; ++i) ASSERT_THAT(logging.deallocate(*logging.allocate(100), 100), is_ok());
  EXPECT_THAT(logging.close(), fails_with(ErrorCode::kIo));
}

TEST(LoggingResource, ThreadsGiveATraceThatOneThreadCanRepeat) {
  TraceText text;
  SystemResource system;
  LoggingResource logging(system, text);
  std::vector<std::jthread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] {
      Random random(seed);
      for (int i = 0; i < 1000; ++i) {
        const size_t bytes = random.size(64);  // so small that memory is handed out again at once
        ASSERT_THAT(logging.deallocate(*logging.allocate(bytes), bytes), is_ok());
      }
    });
  }
  threads.clear();
  ASSERT_THAT(logging.close(), is_ok());

  const MemorySource source(std::as_bytes(std::span(text.text())), "trace");
  const Result<Trace> trace = Trace::read(source);
  ASSERT_THAT(trace, is_ok());
  EXPECT_EQ(events_of(text.text()).size(), 8000u);
  std::set<uint32_t> numbers;
  for (const TraceEvent& event : events_of(text.text())) numbers.insert(event.thread);
  EXPECT_EQ(numbers, (std::set<uint32_t>{0, 1, 2, 3}));
  EXPECT_LE(trace->slots(), 4u);

  SystemResource again;
  const ReplayResult result = replay(*trace, again);
  EXPECT_EQ(result.allocations, 4000u);
  EXPECT_EQ(result.frees, 4000u);
  EXPECT_FALSE(result.first_failure.has_value());
  EXPECT_EQ(result.peak_live_bytes, trace->peak_live_bytes());
}

}  // namespace
}  // namespace lobit
