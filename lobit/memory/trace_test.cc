#include "lobit/memory/trace.h"

#include <algorithm>
#include <map>
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
      read(with_header("allocate,0,0,1,4096,64,0,untagged,0,0\n"
                       "allocate,0,850,2,524288,256,0,weights,140737488355328,7\n"
                       "free,1,2100,1,4096,64,0,untagged,0,0\n"
                       "refuse,0,2900,0,1099511627776,64,3,untagged,0,0\n"
                       "trim,0,3500,0,4096,0,0,untagged,0,0\n"
                       "usage,0,3900,0,2097152,0,0,untagged,0,0\n"
                       "free,0,4200,2,524288,256,0,weights,140737488355328,0\n"));
  ASSERT_THAT(events, is_ok());
  const std::vector<TraceEvent> expected = {
      {.block = 1, .bytes = 4096, .alignment = 64},
      {.tag = 1,
       .time_ns = 850,
       .block = 2,
       .bytes = 524288,
       .alignment = 256,
       .address = 140737488355328,
       .stack = 7,
       .slot = 1},
      {.op = TraceOp::kFree, .thread = 1, .time_ns = 2100, .block = 1, .bytes = 4096, .alignment = 64},
      {.op = TraceOp::kRefuse, .stream = 3, .time_ns = 2900, .bytes = 1099511627776, .alignment = 64},
      {.op = TraceOp::kTrim, .time_ns = 3500, .bytes = 4096},
      {.op = TraceOp::kUsage, .time_ns = 3900, .bytes = 2097152},
      {.op = TraceOp::kFree,
       .tag = 1,
       .time_ns = 4200,
       .block = 2,
       .bytes = 524288,
       .alignment = 256,
       .address = 140737488355328,
       .slot = 1}};
  EXPECT_EQ(*events, expected);
}

TEST(TraceReader, AnEmptyTraceHasNoEvents) {
  EXPECT_TRUE(read(with_header(""))->empty());
}

TEST(TraceReader, TellsThatAFileIsNoTraceWhateverItHolds) {
  for (const std::string& text :
       {std::string("GGUF\3"), std::string(1 << 20, '\0'), "#" + std::string(1 << 20, 'x')}) {
    const auto events = read(text);
    ASSERT_THAT(events, fails_with(ErrorCode::kCorrupt));
    EXPECT_NE(events.error().message.find("line 1: expected 'lobit_trace_2,"), std::string::npos);
    EXPECT_EQ(events.error().detail.offset, 0u);
  }
}

TEST(TraceReader, RefusesOtherHeaders) {
  for (const std::string& text :
       {std::string(), std::string("\n"), std::string(kTraceHeader), std::string(kTraceHeader) + " \n",
        std::string("lobit_trace_1,thread,time_ns,block,bytes,alignment,stream\n"), std::string(200, 'x')}) {
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
      {"", "ten fields"},
      {"allocate", "ten fields"},
      {"allocate,0,0,1,4096,64", "ten fields"},
      {"allocate,0,0,1,4096,64,0", "ten fields"},
      {"allocate,0,0,1,4096,64,0,untagged,0,0,", "ten fields"},
      {"alloc,0,0,1,4096,64,0,untagged,0,0", "allocate, free, refuse, trim or usage"},
      {"Allocate,0,0,1,4096,64,0,untagged,0,0", "allocate, free, refuse, trim or usage"},
      {",0,0,1,4096,64,0,untagged,0,0", "allocate, free, refuse, trim or usage"},
      {"allocate,,0,1,4096,64,0,untagged,0,0", "as thread a number up to 4294967295, found ''"},
      {"allocate,4294967296,0,1,4096,64,0,untagged,0,0", "as thread a number up to 4294967295"},
      {"allocate,0,18446744073709551616,1,4096,64,0,untagged,0,0",
       "as time a number up to 18446744073709551615"},
      {"allocate,0,0,-1,4096,64,0,untagged,0,0", "as block"},
      {"allocate,0,0,1,+1,64,0,untagged,0,0", "as bytes"},
      {"allocate,0,0,1,01,64,0,untagged,0,0", "as bytes"},
      {"allocate,0,0,1, 1,64,0,untagged,0,0", "as bytes"},
      {"allocate,0,0,1,1e3,64,0,untagged,0,0", "as bytes"},
      {"allocate,0,0,1,0x10,64,0,untagged,0,0", "as bytes"},
      {"allocate,0,0,1,4096,64,0,untagged,0,0\r", "as stack"},
      {"allocate,0,0,1,4096,64,4294967296,untagged,0,0", "as stream"},
      {"allocate,0,0,0,4096,64,0,untagged,0,0", "a block above 1"},
      {"allocate,0,0,1,4096,64,0,untagged,0,0", "a block above 1, the last one, found 1"},
      {"allocate,0,0,2,0,64,0,untagged,0,0", "at least 1 byte"},
      {"allocate,0,0,2,4096,0,0,untagged,0,0", "a power of two up to 1048576, found 0"},
      {"allocate,0,0,2,4096,48,0,untagged,0,0", "a power of two"},
      {"allocate,0,0,2,4096,2097152,0,untagged,0,0", "a power of two"},
      {"allocate,0,0,2,18446744073709551615,64,0,untagged,0,0", "less than 2^64 bytes"},
      {"free,0,0,0,4096,64,0,untagged,0,0", "found 0, which was never allocated"},
      {"free,0,0,2,4096,64,0,untagged,0,0", "found 2, which was never allocated"},
      {"free,0,0,1,4095,64,0,untagged,0,0", "block 1 with 4096 bytes aligned to 64, found 4095"},
      {"free,0,0,1,4096,32,0,untagged,0,0", "aligned to 32"},
      {"refuse,0,0,1,4096,64,0,untagged,0,0", "block 0, found 1"},
      {"trim,0,0,1,4096,0,0,untagged,0,0", "block 0, found 1"},
      {"trim,0,0,0,4096,64,0,untagged,0,0", "alignment 0, found 64"},
      {"trim,0,0,0,4096,0,0,weights,0,0", "the tag untagged"},
      {"trim,0,0,0,4096,0,0,untagged,0,1", "stack 0, found 1"},
      {"usage,0,0,0,4096,64,0,untagged,0,0", "alignment 0, found 64"},
      {"usage,0,0,1,4096,0,0,untagged,0,0", "block 0, found 1"},
      {"refuse,0,0,0,4096,64,0,weights,4096,0", "address 0, found 4096"},
      {"free,0,0,1,4096,64,0,weights,0,0", "another tag"},
      {"free,0,0,1,4096,64,0,untagged,64,0", "the address 0, found 64"},
      {"allocate,0,0,2,4096,64,0,,0,0", "as tag 1 to 31 characters a-z, 0-9 and _, found ''"},
      {"allocate,0,0,2,4096,64,0,Weights,0,0", "as tag"},
      {"allocate,0,0,2,4096,64,0,a23456789_123456789_123456789_12,0,0", "as tag"},
      {"allocate,0,0,2,4096,64,0,io,0x10,0", "as address"},
      {"allocate,0,0,2,4096,64,0,io,0,4294967296", "as stack a number up to 4294967295"},
      {"#limit", "as limit a number"},
      {"#limit 01", "as limit a number"},
      {"#limit 18446744073709551616", "as limit a number"},
      {"#name a%4", "%XX stands for what is not printable, found '%4'"},
      {"#name %0a", "%XX"},
      {"#name a|b", "%XX"},
      {"#name \x7f", "%XX"},
      {"#name %FF", "expected UTF-8"},
      {"#stack", "as number of a stack"},
      {"#stack 0 f@a.cc:1", "a stack above 0"},
      {"#stack 1 f", "a frame function@file:line, found 'f'"},
      {"#stack 1 f@a.cc", "a frame function@file:line"},
      {"#stack 1 f:1@a.cc", "a frame function@file:line"},
      {"#stack 1 f@a.cc:", "as line of a frame"},
      {"#stack 1 f@a.cc:1|", "a frame function@file:line, found ''"},
      {"#stack 1 f@g@a.cc:1", "%XX"},
  };
  const std::string good = with_header("allocate,0,0,1,4096,64,0,untagged,0,0\n");
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
      read(with_header("allocate,0,0,5,10,1,0,untagged,0,0\n"
                       "free,0,0,5,10,1,0,untagged,0,0\n"
                       "free,0,0,5,10,1,0,untagged,0,0\n"));
  ASSERT_THAT(events, fails_with(ErrorCode::kCorrupt));
  EXPECT_EQ(events.error().detail.index, 4u);
  EXPECT_NE(events.error().message.find("freed before"), std::string::npos);
}

TEST(TraceReader, RefusesTimesThatFall) {
  const auto events = read(with_header(
      "trim,0,7,0,0,0,0,untagged,0,0\ntrim,0,7,0,0,0,0,untagged,0,0\ntrim,0,6,0,0,0,0,untagged,0,0\n"));
  ASSERT_THAT(events, fails_with(ErrorCode::kCorrupt));
  EXPECT_EQ(events.error().detail.index, 4u);
}

TEST(TraceReader, RefusesATraceThatIsCutShort) {
  const std::string whole =
      with_header("allocate,0,0,1,4096,64,0,untagged,0,0\nfree,0,0,1,4096,64,0,untagged,0,0\n");
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto events = read(whole.substr(0, size));
    const bool at_end_of_line = size > 0 && whole[size - 1] == '\n';
    EXPECT_EQ(events.has_value(), at_end_of_line) << size;
  }
}

TEST(TraceReader, ALineWithoutEndTakesNoMemory) {
  const auto events = read(with_header("allocate,0,0,1,4096,64," + std::string(1 << 20, '0') + "\n"));
  ASSERT_THAT(events, fails_with(ErrorCode::kCorrupt));
  EXPECT_NE(events.error().message.find("at most 255 characters"), std::string::npos);
  EXPECT_LT(events.error().message.size(), 500u);
  const auto facts = read(with_header("#" + std::string(1 << 20, 'x') + "\n"));
  ASSERT_THAT(facts, fails_with(ErrorCode::kCorrupt));
  EXPECT_NE(facts.error().message.find("at most 16384 characters"), std::string::npos);
  EXPECT_LT(facts.error().message.size(), 500u);
}

TEST(TraceReader, TakesTheLongestFactThatMaySpanBuffers) {
  const std::string fact = "#" + std::string(16383, 'x') + "\n";
  std::string facts;
  for (int i = 0; i < 20; ++i) facts += fact;
  const auto events = read(with_header(facts + "trim,0,0,0,7,0,0,untagged,0,0\n" + facts));
  ASSERT_THAT(events, is_ok());
  ASSERT_EQ(events->size(), 1u);
  EXPECT_EQ(events->at(0).bytes, 7u);
}

// Reads to the end and keeps what the lines with '#' and the events said beside the events.
struct Facts {
  std::vector<std::string> tags;
  std::map<uint32_t, StackTrace> stacks;
  std::string name;
  std::optional<uint64_t> limit;
};

Result<Facts> read_facts(const std::string& text, const TraceLimits& limits = {}) {
  const MemorySource source(std::as_bytes(std::span(text)), "t.csv");
  LOBIT_TRY(TraceReader reader, TraceReader::open(source, limits));
  for (;;) {
    LOBIT_TRY(const std::optional<TraceEvent> event, reader.next());
    if (!event.has_value()) {
      return Facts{reader.tags(), reader.stacks(), std::string(reader.name()), reader.limit()};
    }
  }
}

TEST(TraceReader, ReadsFactsWhereverTheyStand) {
  const auto facts =
      read_facts(with_header("#name con%0Avert %C3%A9%25\n"
                             "#later what later versions say, %zz\n"
                             "#\n"
                             "trim,0,0,0,7,0,0,untagged,0,0\n"
                             "#stack 9 f(a%7Cb)@src/%40x.cc:12|main@:0\n"
                             "#limit 4096\n"
                             "#stack 2 \n"));
  ASSERT_THAT(facts, is_ok());
  EXPECT_EQ(facts->name, "con\nvert \xC3\xA9%");
  EXPECT_EQ(facts->limit, 4096u);
  ASSERT_EQ(facts->stacks.size(), 2u);
  EXPECT_EQ(facts->stacks.at(9), (StackTrace{{"f(a|b)", "src/@x.cc", 12}, {"main", "", 0}}));
  EXPECT_TRUE(facts->stacks.at(2).empty());
  const auto none = read_facts(with_header(""));
  EXPECT_EQ(none->name, "");
  EXPECT_EQ(none->limit, std::nullopt);
  EXPECT_EQ(none->tags, std::vector<std::string>{"untagged"});
}

TEST(TraceReader, TakesAFactOnce) {
  for (const std::string fact : {"#name a\n", "#limit 1\n", "#stack 3 f@a:1\n"}) {
    EXPECT_THAT(read(with_header(fact)), is_ok());
    const auto twice = read(with_header(fact + fact));
    ASSERT_THAT(twice, fails_with(ErrorCode::kCorrupt)) << fact;
    EXPECT_EQ(twice.error().detail.index, 3u);
  }
}

TEST(TraceReader, BoundsStacksAndTags) {
  const std::string two = with_header("#stack 1 f@a:1\n#stack 2 g@a:1\n");
  EXPECT_THAT(read(two, {.max_stacks = 2}), is_ok());
  EXPECT_THAT(read(two, {.max_stacks = 1}), fails_with(ErrorCode::kLimit));
  EXPECT_THAT(read(two, {.max_stack_bytes = 1000}), is_ok());
  EXPECT_THAT(read(two, {.max_stack_bytes = 200}), fails_with(ErrorCode::kLimit));
  std::string frames = "f@a:1";
  for (int i = 1; i < 32; ++i) frames += "|f@a:1";
  EXPECT_EQ(read_facts(with_header("#stack 1 " + frames + "\n"))->stacks.at(1).size(), 32u);
  EXPECT_THAT(read(with_header("#stack 1 " + frames + "|f@a:1\n")), fails_with(ErrorCode::kCorrupt));

  std::string tags;
  for (int i = 1; i < 64; ++i) tags += "refuse,0,0,0,1,1,0,tag_" + std::to_string(i) + ",0,0\n";
  EXPECT_EQ(read_facts(with_header(tags))->tags.size(), 64u);
  const auto more = read(with_header(tags + "refuse,0,0,0,1,1,0,one_more,0,0\n"));
  ASSERT_THAT(more, fails_with(ErrorCode::kLimit));
  EXPECT_EQ(more.error().detail.index, 65u);
}

TEST(TraceReader, KeepsItsLimits) {
  const std::string two = with_header(
      "allocate,0,0,1,1,1,0,untagged,0,0\nfree,0,0,1,1,1,0,untagged,0,0\nallocate,0,0,2,1,1,0,untagged,0,"
      "0\nallocate,0,0,3,1,1,0,untagged,0,0\n");
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
    if (kind == 0 && random.below(2) == 0) {
      events.push_back({.op = TraceOp::kUsage, .time_ns = time, .bytes = random.next()});
    } else if (kind == 0) {
      events.push_back({.op = TraceOp::kTrim, .time_ns = time, .bytes = random.next()});
    } else if (kind == 1) {
      events.push_back({.op = TraceOp::kRefuse, .time_ns = time, .bytes = random.next(), .alignment = 3});
    } else if (kind < 12 || live.empty()) {
      block += random.size(1000);
      live.push_back({.tag = static_cast<uint8_t>(random.below(3)),
                      .thread = static_cast<uint32_t>(random.next()),
                      .stream = static_cast<uint32_t>(random.next()),
                      .time_ns = time,
                      .block = block,
                      .bytes = random.size(uint64_t{1} << 40),
                      .alignment = uint64_t{1} << random.below(21),
                      .address = random.below(4) == 0 ? 0 : random.next(),
                      .stack = static_cast<uint32_t>(random.next())});
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
  // In the order of the events, in which a reader numbers them.
  const uint8_t first = std::ranges::find_if(events, [](const TraceEvent& e) { return e.tag != 0; })->tag;
  EXPECT_EQ(writer.add_tag(first == 1 ? "io" : "weights"), 1);
  EXPECT_EQ(writer.add_tag(first == 1 ? "weights" : "io"), 2);
  for (TraceEvent event : events) {
    if (first == 2 && event.tag != 0) event.tag = static_cast<uint8_t>(3 - event.tag);
    ASSERT_THAT(writer.append(event), is_ok());
  }
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
    if (first == 2 && event.tag != 0) event.tag = static_cast<uint8_t>(3 - event.tag);
  }
  EXPECT_EQ(*back, events);
}

TEST(TraceWriter, WritesTheLongestLine) {
  TraceText text;
  TraceWriter writer(text);
  const TraceEvent event{.tag = writer.add_tag("a23456789_123456789_123456789_1").value(),
                         .thread = UINT32_MAX,
                         .stream = UINT32_MAX,
                         .time_ns = UINT64_MAX,
                         .block = UINT64_MAX,
                         .bytes = UINT64_MAX,
                         .alignment = kMaxAlignment,
                         .address = UINT64_MAX,
                         .stack = UINT32_MAX};
  ASSERT_THAT(writer.append(event), is_ok());
  ASSERT_THAT(writer.close(), is_ok());
  EXPECT_EQ(text.text().size(), with_header("").size() + 166);
  EXPECT_EQ(read(text.text())->at(0), event);
}

TEST(TraceWriter, RefusesAnOperationThatDoesNotExist) {
  TraceText text;
  TraceWriter writer(text);
  EXPECT_THAT(writer.append({.op = static_cast<TraceOp>(5)}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(writer.append({.op = TraceOp::kTrim}), is_ok());
  ASSERT_THAT(writer.close(), is_ok());
  EXPECT_EQ(text.text(), with_header("trim,0,0,0,0,0,0,untagged,0,0\n"));
}

TEST(TraceWriter, NumbersTags) {
  TraceText text;
  TraceWriter writer(text);
  EXPECT_EQ(writer.add_tag("untagged"), 0);
  EXPECT_EQ(writer.add_tag("io"), 1);
  EXPECT_EQ(writer.add_tag("kv_cache"), 2);
  EXPECT_EQ(writer.add_tag("io"), 1);
  EXPECT_THAT(writer.add_tag("Io"), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(writer.append({.op = TraceOp::kRefuse, .tag = 3}), fails_with(ErrorCode::kInvalidArgument));
  EXPECT_THAT(writer.append({.op = TraceOp::kRefuse, .tag = 2}), is_ok());
  for (int i = 3; i < 64; ++i) ASSERT_EQ(writer.add_tag("tag_" + std::to_string(i)), i);
  EXPECT_THAT(writer.add_tag("one_more"), fails_with(ErrorCode::kLimit));
  ASSERT_THAT(writer.close(), is_ok());
  EXPECT_EQ(text.text(), with_header("refuse,0,0,0,0,0,0,kv_cache,0,0\n"));
}

TEST(TraceWriter, WritesFactsThatAreReadBack) {
  TraceText text;
  TraceWriter writer(text);
  const StackTrace stack = {{"void f<'|', '@'>(%)", "a:b/c@d.cc", UINT32_MAX}, {"", "", 0}};
  ASSERT_THAT(writer.append_name("a\xC3\xA9\n\xFF# b"), is_ok());
  ASSERT_THAT(writer.append_limit(UINT64_MAX), is_ok());
  ASSERT_THAT(writer.append_stack(UINT32_MAX, stack), is_ok());
  EXPECT_THAT(writer.append_stack(0, stack), fails_with(ErrorCode::kInvalidArgument));
  ASSERT_THAT(writer.close(), is_ok());
  EXPECT_EQ(text.text(),
            with_header("#name a%C3%A9%0A?# b\n#limit 18446744073709551615\n"
                        "#stack 4294967295 void f<'%7C', '%40'>(%25)@a:b/c%40d.cc:4294967295|@:0\n"));
  const auto facts = read_facts(text.text());
  ASSERT_THAT(facts, is_ok());
  EXPECT_EQ(facts->name, "a\xC3\xA9\n?# b");
  EXPECT_EQ(facts->stacks.at(UINT32_MAX), stack);
}

TEST(TraceWriter, CutsStacksThatReadersWouldRefuse) {
  const std::string accents = [] {
    std::string all;
    for (int i = 0; i < 9000; ++i) all += "\xC3\xA9";
    return all;
  }();
  TraceText text;
  TraceWriter writer(text);
  ASSERT_THAT(writer.append_stack(1, StackTrace(40, {"f", "a.cc", 1})), is_ok());
  ASSERT_THAT(writer.append_stack(2, StackTrace(2, {accents, accents, 1})), is_ok());
  ASSERT_THAT(writer.append_name(accents), is_ok());
  ASSERT_THAT(writer.close(), is_ok());
  const auto facts = read_facts(text.text());
  ASSERT_THAT(facts, is_ok());
  EXPECT_EQ(facts->stacks.at(1).size(), 32u);
  ASSERT_EQ(facts->stacks.at(2).size(), 1u) << "the second one does not fit";
  // Whole characters of 6 each fill 8000 and 4000.
  EXPECT_EQ(facts->stacks.at(2)[0].function, accents.substr(0, 2 * 1333));
  EXPECT_EQ(facts->stacks.at(2)[0].file, accents.substr(0, 2 * 666));
  EXPECT_EQ(facts->name, accents.substr(0, 2 * 1333));
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
