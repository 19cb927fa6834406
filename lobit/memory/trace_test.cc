#include "lobit/memory/trace.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/replay.h"

namespace lobit {
namespace {

std::string with_header(std::string_view events) {
  return std::string(kTraceHeader) + "\n" + std::string(events);
}

Result<std::vector<TraceEvent>> read(const std::string& text, const TraceLimits& limits = {}) {
  const MemorySource source(std::as_bytes(std::span(text)), "t.csv");
  LOBIT_TRY(TraceReader reader, TraceReader::open(source, limits));
  std::vector<TraceEvent> events;
  for (;;) {
    Result<std::optional<TraceEvent>> event = reader.next();
    if (!event || !event->has_value()) {
      EXPECT_EQ(*reader.next(), std::nullopt) << "the end stays the end";
      if (!event) return fail(std::move(event).error());
      return events;
    }
    events.push_back(**event);
  }
}

TEST(TraceReader, ReadsTheExampleOfTheFormat) {
  const auto events =
      read(with_header("allocate,0,0,1,4096,64,0\n"
                       "allocate,0,850,2,524288,256,0\n"
                       "free,1,2100,1,4096,64,0\n"
                       "refuse,0,2900,0,1099511627776,64,3\n"
                       "trim,0,3500,0,4096,0,0\n"
                       "free,0,4200,2,524288,256,0\n"));
  ASSERT_THAT(events, is_ok());
  const std::vector<TraceEvent> expected = {
      {.block = 1, .bytes = 4096, .alignment = 64},
      {.time_ns = 850, .block = 2, .bytes = 524288, .alignment = 256, .slot = 1},
      {.op = TraceOp::kFree, .thread = 1, .time_ns = 2100, .block = 1, .bytes = 4096, .alignment = 64},
      {.op = TraceOp::kRefuse, .stream = 3, .time_ns = 2900, .bytes = 1099511627776, .alignment = 64},
      {.op = TraceOp::kTrim, .time_ns = 3500, .bytes = 4096},
      {.op = TraceOp::kFree, .time_ns = 4200, .block = 2, .bytes = 524288, .alignment = 256, .slot = 1}};
  EXPECT_EQ(*events, expected);
}

TEST(TraceReader, AnEmptyTraceHasNoEvents) {
  EXPECT_TRUE(read(with_header(""))->empty());
}

TEST(TraceReader, RefusesOtherHeaders) {
  for (const std::string& text :
       {std::string(), std::string("\n"), std::string(kTraceHeader), std::string(kTraceHeader) + " \n",
        std::string("lobit_trace_2,thread,time_ns,block,bytes,alignment,stream\n"), std::string(200, 'x')}) {
    const auto events = read(text);
    ASSERT_THAT(events, fails_with(ErrorCode::kCorrupt)) << text;
    EXPECT_EQ(events.error().detail.index, 1u);
    EXPECT_EQ(events.error().detail.offset, 0u);
  }
}

struct BadLine {
  std::string_view line;
  std::string_view message;  // a part of it
};

TEST(TraceReader, RefusesLinesThatAreNoEvents) {
  constexpr BadLine kLines[] = {
      {"", "seven fields"},
      {"allocate", "seven fields"},
      {"allocate,0,0,1,4096,64", "seven fields"},
      {"allocate,0,0,1,4096,64,0,", "seven fields"},
      {"alloc,0,0,1,4096,64,0", "allocate, free, refuse or trim"},
      {"Allocate,0,0,1,4096,64,0", "allocate, free, refuse or trim"},
      {",0,0,1,4096,64,0", "allocate, free, refuse or trim"},
      {"allocate,,0,1,4096,64,0", "as thread a number up to 4294967295, found ''"},
      {"allocate,4294967296,0,1,4096,64,0", "as thread a number up to 4294967295"},
      {"allocate,0,18446744073709551616,1,4096,64,0", "as time a number up to 18446744073709551615"},
      {"allocate,0,0,-1,4096,64,0", "as block"},
      {"allocate,0,0,1,+1,64,0", "as bytes"},
      {"allocate,0,0,1,01,64,0", "as bytes"},
      {"allocate,0,0,1, 1,64,0", "as bytes"},
      {"allocate,0,0,1,1e3,64,0", "as bytes"},
      {"allocate,0,0,1,0x10,64,0", "as bytes"},
      {"allocate,0,0,1,4096,64,0\r", "as stream"},
      {"allocate,0,0,1,4096,64,4294967296", "as stream"},
      {"allocate,0,0,0,4096,64,0", "a block above 1"},
      {"allocate,0,0,1,4096,64,0", "a block above 1, the last one, found 1"},
      {"allocate,0,0,2,0,64,0", "at least 1 byte"},
      {"allocate,0,0,2,4096,0,0", "a power of two up to 1048576, found 0"},
      {"allocate,0,0,2,4096,48,0", "a power of two"},
      {"allocate,0,0,2,4096,2097152,0", "a power of two"},
      {"allocate,0,0,2,18446744073709551615,64,0", "less than 2^64 bytes"},
      {"free,0,0,0,4096,64,0", "found 0, which was never allocated"},
      {"free,0,0,2,4096,64,0", "found 2, which was never allocated"},
      {"free,0,0,1,4095,64,0", "block 1 with 4096 bytes aligned to 64, found 4095"},
      {"free,0,0,1,4096,32,0", "aligned to 32"},
      {"refuse,0,0,1,4096,64,0", "block 0, found 1"},
      {"trim,0,0,1,4096,0,0", "block 0, found 1"},
      {"trim,0,0,0,4096,64,0", "alignment 0, found 64"},
  };
  const std::string good = with_header("allocate,0,0,1,4096,64,0\n");
  for (const auto& [line, message] : kLines) {
    const auto events = read(good + std::string(line) + "\n");
    ASSERT_THAT(events, fails_with(ErrorCode::kCorrupt)) << line;
    EXPECT_EQ(events.error().detail.index, 3u) << line;
    EXPECT_EQ(events.error().detail.offset, good.size()) << line;
    EXPECT_TRUE(events.error().message.starts_with("t.csv: line 3: expected ")) << events.error().message;
    EXPECT_NE(events.error().message.find(message), std::string::npos) << events.error().message;
  }
}

TEST(TraceReader, RefusesASecondFree) {
  const auto events =
      read(with_header("allocate,0,0,5,10,1,0\n"
                       "free,0,0,5,10,1,0\n"
                       "free,0,0,5,10,1,0\n"));
  ASSERT_THAT(events, fails_with(ErrorCode::kCorrupt));
  EXPECT_EQ(events.error().detail.index, 4u);
  EXPECT_NE(events.error().message.find("freed before"), std::string::npos);
}

TEST(TraceReader, RefusesTimesThatFall) {
  const auto events = read(with_header("trim,0,7,0,0,0,0\ntrim,0,7,0,0,0,0\ntrim,0,6,0,0,0,0\n"));
  ASSERT_THAT(events, fails_with(ErrorCode::kCorrupt));
  EXPECT_EQ(events.error().detail.index, 4u);
}

TEST(TraceReader, RefusesATraceThatIsCutShort) {
  const std::string whole = with_header("allocate,0,0,1,4096,64,0\nfree,0,0,1,4096,64,0\n");
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto events = read(whole.substr(0, size));
    const bool at_end_of_line = size > 0 && whole[size - 1] == '\n';
    EXPECT_EQ(events.has_value(), at_end_of_line) << size;
  }
}

TEST(TraceReader, ALineWithoutEndTakesNoMemory) {
  const auto events = read(with_header("allocate,0,0,1,4096,64," + std::string(1 << 20, '0') + "\n"));
  ASSERT_THAT(events, fails_with(ErrorCode::kCorrupt));
  EXPECT_NE(events.error().message.find("at most 127 characters"), std::string::npos);
  EXPECT_LT(events.error().message.size(), 500u);
}

TEST(TraceReader, KeepsItsLimits) {
  const std::string two =
      with_header("allocate,0,0,1,1,1,0\nfree,0,0,1,1,1,0\nallocate,0,0,2,1,1,0\nallocate,0,0,3,1,1,0\n");
  EXPECT_THAT(read(two, {.max_live_blocks = 2}), is_ok());
  const auto live = read(two, {.max_live_blocks = 1});
  ASSERT_THAT(live, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(live.error().detail.index, 5u);
  EXPECT_THAT(read(two, {.max_events = 4}), is_ok());
  const auto events = read(two, {.max_events = 3});
  ASSERT_THAT(events, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(events.error().detail.index, 5u);
}

// Random events that keep the rules, many times what a buffer holds.
std::vector<TraceEvent> random_events(size_t count) {
  Random random(1);
  std::vector<TraceEvent> events;
  std::vector<TraceEvent> live;
  uint64_t block = 0;
  uint64_t time = 0;
  while (events.size() < count) {
    time += random.size(uint64_t{1} << 40);
    const uint64_t kind = random.below(20);
    if (kind == 0) {
      events.push_back({.op = TraceOp::kTrim, .time_ns = time, .bytes = random.next()});
    } else if (kind == 1) {
      events.push_back({.op = TraceOp::kRefuse, .time_ns = time, .bytes = random.next(), .alignment = 3});
    } else if (kind < 12 || live.empty()) {
      block += random.size(1000);
      live.push_back({.thread = static_cast<uint32_t>(random.next()),
                      .stream = static_cast<uint32_t>(random.next()),
                      .time_ns = time,
                      .block = block,
                      .bytes = random.size(uint64_t{1} << 40),
                      .alignment = uint64_t{1} << random.below(21)});
      events.push_back(live.back());
    } else {
      std::swap(live[random.below(live.size())], live.back());
      live.back().op = TraceOp::kFree;
      live.back().time_ns = time;
      events.push_back(live.back());
      live.pop_back();
    }
  }
  return events;
}

TEST(TraceWriter, WritesWhatTheReaderReads) {
  const std::vector<TraceEvent> events = random_events(20000);
  TraceText text;
  TraceWriter writer(text);
  for (const TraceEvent& event : events) ASSERT_THAT(writer.append(event), is_ok());
  ASSERT_THAT(writer.close(), is_ok());
  EXPECT_GT(text.text().size(), size_t{512} << 10);

  auto back = read(text.text());
  ASSERT_THAT(back, is_ok());
  std::vector<bool> taken;
  for (TraceEvent& event : *back) {
    if (event.op == TraceOp::kAllocate) {
      taken.resize(std::max<size_t>(taken.size(), event.slot + 1));
      EXPECT_FALSE(taken[event.slot]) << "two live blocks share a slot";
      taken[event.slot] = true;
    } else if (event.op == TraceOp::kFree) {
      EXPECT_TRUE(taken[event.slot]);
      taken[event.slot] = false;
    }
    event.slot = 0;
  }
  EXPECT_EQ(*back, events);
}

TEST(TraceWriter, WritesTheLongestLine) {
  TraceText text;
  TraceWriter writer(text);
  const TraceEvent event{.thread = UINT32_MAX,
                         .stream = UINT32_MAX,
                         .time_ns = UINT64_MAX,
                         .block = UINT64_MAX,
                         .bytes = UINT64_MAX,
                         .alignment = kMaxAlignment};
  ASSERT_THAT(writer.append(event), is_ok());
  ASSERT_THAT(writer.close(), is_ok());
  EXPECT_EQ(read(text.text())->at(0), event);
}

TEST(TraceWriter, RefusesAnOperationThatDoesNotExist) {
  TraceText text;
  TraceWriter writer(text);
  EXPECT_THAT(writer.append({.op = static_cast<TraceOp>(4)}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(writer.append({.op = TraceOp::kTrim}), is_ok());
  ASSERT_THAT(writer.close(), is_ok());
  EXPECT_EQ(text.text(), with_header("trim,0,0,0,0,0,0\n"));
}

TEST(TraceWriter, WritesNothingAfterItsEnd) {
  TraceText text;
  TraceWriter writer(text);
  ASSERT_THAT(writer.close(), is_ok());
  EXPECT_EQ(text.text(), with_header(""));
  EXPECT_THAT(writer.append({}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(writer.close(), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_EQ(text.text(), with_header(""));
}

TEST(TraceFile, AppearsWhenItIsClosed) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "trace.csv";
  Result<TraceFile> file = TraceFile::create(path);
  ASSERT_THAT(file, is_ok());
  TraceWriter writer(*file);
  // Several buffers.
  for (uint64_t block = 1; block <= 10000; ++block) {
    ASSERT_THAT(writer.append({.block = block, .bytes = 1, .alignment = 1}), is_ok());
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_THAT(writer.close(), is_ok());
  const Result<File> back = File::open(path);
  ASSERT_THAT(back, is_ok());
  const Result<Trace> trace = Trace::read(*back);
  ASSERT_THAT(trace, is_ok());
  EXPECT_EQ(trace->events().size(), 10000u);
  EXPECT_EQ(trace->slots(), 10000u);
  EXPECT_THAT(TraceFile::create(folder.path() / "absent" / "t.csv"), fails_with(ErrorCode::kNotFound));
}

}  // namespace
}  // namespace lobit
