#include "lobit/report/memory_report.h"

#include <cmath>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "lobit/base/test_support.h"
#include "lobit/io/file.h"
#include "lobit/report/example_memory.h"
#include "lobit/report/memory_tables.h"

namespace lobit {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Every field set, every number different.
MemoryProfile small_profile() {
  MemoryProfile profile{.name = "demo",
                        .duration_ns = 2'000'000'000,
                        .limit = 4096,
                        .allocations = 50,
                        .frees = 46,
                        .refused = 3,
                        .allocated_bytes = 90000,
                        .live_bytes = 1500,
                        .live_blocks = 4,
                        .peak_committed = 3584,
                        .trims = 2,
                        .trimmed_bytes = 777,
                        .threads = 6,
                        .mean_lifetime_ns = 1536.5,
                        .tags = {"untagged", "weights", "kv_cache"},
                        .stacks = {{},
                                   {{"lobit::HybridMemoryPool::allocate(size_t)", "lobit/memory/pool.cc", 10},
                                    {"chat::Cache::grow(int) const", "/home/u/chat/cache.cc", 77},
                                    {"main", "", 0}}},
                        .peak_by_tag = {0, 1024, 2000},
                        .peak = {500'000'000, 3000, 3328, {0, 1024, 1976}}};
  profile.timeline = {
      {0, 1000, 2048, {0, 1000, 0}}, profile.peak, {1'900'000'000, 1500, 3584, {0, 1024, 476}}};
  profile.at_peak = {{2, 1, 1976, 19}, {1, 0, 1024, 1}};
  profile.at_end = {{1, 0, 1024, 1}, {2, 1, 476, 3}};
  profile.unfreed = {
      {.block = 12,
       .address = 0xabc0,
       .bytes = 1024,
       .time_ns = 5,
       .age_ns = 1'250'000,
       .thread = 8,
       .tag = 1,
       .stack = 0,
       .device = "cuda:1"},
      {.block = 31, .bytes = 333, .time_ns = 70, .age_ns = 640, .thread = 2, .tag = 2, .stack = 1}};
  profile.sizes[10] = 41;
  profile.sizes[12] = 9;
  profile.lifetimes[20] = 44;
  profile.fragmentation = MemoryFragmentation{3584, 1500, 36, 2048, 512, 5};
  profile.allocate_latency = CallLatency{21, 130.5, 90, 1700, 22000};
  profile.free_latency = CallLatency{23, 44.25, 40, 300, 5100};
  profile.patterns = {{MemoryPatternKind::kManySmall, 2, 1, 25, 18, "Eighteen small ones.", "Use an arena."}};
  profile.advice = {{476, "Free the cache."}};
  profile.arenas = {{.first_address = 0xa000,
                     .row_bytes = 64,
                     .column_ns = 1'000'000'000,
                     .rows = 2,
                     .columns = 2,
                     .live = {255, 0, 128, 1},
                     .tag = {1, 0, 2, 2},
                     .gaps = {{1, 8192}}}};
  return profile;
}

TEST(MemoryReport, TellsEveryNumberAsText) {
  EXPECT_EQ(
      to_text(small_profile()),
      "demo: memory over 2.0 s\n"
      "  allocations    50, together 87.9 KiB, 25 a second\n"
      "  freed          46, together 86.4 KiB, 23 a second\n"
      "  refused        3 allocations\n"
      "  current        1.5 KiB in 4 blocks\n"
      "  peak           2.9 KiB at 500 ms, 73.2 % of the limit of 4 KiB\n"
      "  committed      at most 3.5 KiB\n"
      "  fragmentation  58.1 %: 3.5 KiB committed = 1.5 KiB requested + 36 B rounding + 2 KiB free\n"
      "  lifetime       1.5 us on average\n"
      "  threads        6\n"
      "  trims          2, which gave back 777 B\n"
      "\n"
      "Unfreed blocks\n"
      "address    size     age  tag       device  thread  allocated by       at\n"
      "──────────────────────────────────────────────────────────────────────────────────────\n"
      "0xabc0    1 KiB  1.2 ms  weights   cuda:1       8  unknown\n"
      "block 31  333 B  640 ns  kv_cache               2  chat::Cache::grow  chat/cache.cc:77\n"
      "\n"
      "Tags\n"
      "tag       at the peak   share  most ever  at the end\n"
      "────────────────────────────────────────────────────\n"
      "kv_cache      1.9 KiB  65.9 %      2 KiB       476 B\n"
      "weights         1 KiB  34.1 %      1 KiB       1 KiB\n"
      "\n"
      "Holders at the peak\n"
      "tag         bytes   share  blocks  allocated by       at\n"
      "──────────────────────────────────────────────────────────────────────\n"
      "kv_cache  1.9 KiB  65.9 %      19  chat::Cache::grow  chat/cache.cc:77\n"
      "weights     1 KiB  34.1 %       1  unknown\n"
      "\n"
      "Holders at the end\n"
      "tag       bytes   share  blocks  allocated by       at\n"
      "────────────────────────────────────────────────────────────────────\n"
      "weights   1 KiB  68.3 %       1  unknown\n"
      "kv_cache  476 B  31.7 %       3  chat::Cache::grow  chat/cache.cc:77\n"
      "\n"
      "Calls\n"
      "call      timed    mean  median    99 %  slowest\n"
      "────────────────────────────────────────────────\n"
      "allocate     21  130 ns   90 ns  1.7 us    22 us\n"
      "free         23   44 ns   40 ns  300 ns   5.1 us\n"
      "\n"
      "Patterns\n"
      "  - many small, kv_cache: Eighteen small ones. Allocated by chat::Cache::grow (chat/cache.cc:77). "
      "Use an arena.\n"
      "\n"
      "What would lower the peak\n"
      "  - 476 B: Free the cache.\n");
}

size_t widest_line(const std::string& text) {
  size_t widest = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    size_t columns = 0;
    for (size_t i = at; i < end; ++i) columns += (static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U;
    widest = std::max(widest, columns);
    at = end + 1;
  }
  return widest;
}

TEST(MemoryReport, FitsATerminal) {
  EXPECT_LE(widest_line(to_text(example::memory(), {.width = 100})), 100u);
  EXPECT_GT(widest_line(to_text(example::memory())), 100u);
}

TEST(MemoryReport, ListsEveryBlockWhenAsked) {
  const std::string summary = to_text(example::memory());
  const std::string all = to_text(example::memory(), {.detail = ReportDetail::kTensors});
  EXPECT_THAT(summary, HasSubstr("0x7f3a43900000"));  // the twentieth
  EXPECT_THAT(summary, Not(HasSubstr("0x7f3a43c00000")));
  EXPECT_THAT(summary, HasSubstr("\nand 14 more\n"));
  EXPECT_THAT(all, HasSubstr("0x7f3a46300000"));  // the last
  EXPECT_THAT(all, Not(HasSubstr("more\n")));
}

TEST(MemoryReport, SaysWhenItIsAnEstimate) {
  MemoryProfile profile = small_profile();
  EXPECT_THAT(to_text(profile), Not(HasSubstr("estimated")));
  EXPECT_THAT(to_html(profile), Not(HasSubstr("estimated")));
  profile.is_estimate = true;
  EXPECT_THAT(to_text(profile), HasSubstr("estimated"));
  EXPECT_THAT(to_html(profile), HasSubstr("estimated"));
}

TEST(MemoryReport, HasEveryNumberInJson) {
  const json out = json::parse(to_json(small_profile()));
  const json peak = {
      {"time_ns", 500000000}, {"live_bytes", 3000}, {"committed", 3328}, {"bytes_by_tag", {0, 1024, 1976}}};
  EXPECT_EQ(out["schema"], "lobit.memory.v1");
  EXPECT_EQ(out["name"], "demo");
  EXPECT_EQ(out["duration_ns"], 2000000000);
  EXPECT_EQ(out["limit"], 4096);
  EXPECT_EQ(out["totals"], (json{{"allocations", 50},
                                 {"frees", 46},
                                 {"refused", 3},
                                 {"allocated_bytes", 90000},
                                 {"live_bytes", 1500},
                                 {"live_blocks", 4},
                                 {"peak_committed", 3584},
                                 {"trims", 2},
                                 {"trimmed_bytes", 777},
                                 {"threads", 6},
                                 {"mean_lifetime_ns", 1536.5}}));
  EXPECT_EQ(out["is_estimate"], false);
  EXPECT_EQ(out["tags"], (json{"untagged", "weights", "kv_cache"}));
  EXPECT_EQ(out["peak_by_tag"], (json{0, 1024, 2000}));
  EXPECT_EQ(out["peak"], peak);
  EXPECT_EQ(out["timeline"].size(), 3u);
  EXPECT_EQ(out["timeline"][1], peak);
  EXPECT_EQ(out["at_peak"][0], (json{{"tag", 2}, {"stack", 1}, {"bytes", 1976}, {"blocks", 19}}));
  EXPECT_EQ(out["at_end"][1], (json{{"tag", 2}, {"stack", 1}, {"bytes", 476}, {"blocks", 3}}));
  EXPECT_EQ(out["unfreed"][0], (json{{"block", 12},
                                     {"address", 0xabc0},
                                     {"bytes", 1024},
                                     {"time_ns", 5},
                                     {"age_ns", 1250000},
                                     {"thread", 8},
                                     {"tag", 1},
                                     {"stack", 0},
                                     {"device", "cuda:1"}}));
  EXPECT_FALSE(out["unfreed"][1].contains("device"));
}

TEST(MemoryReport, HasStacksHistogramsAndFindingsInJson) {
  const json out = json::parse(to_json(small_profile()));
  EXPECT_EQ(out["stacks"][0], json::array());
  EXPECT_EQ(
      out["stacks"][1][1],
      (json{{"function", "chat::Cache::grow(int) const"}, {"file", "/home/u/chat/cache.cc"}, {"line", 77}}));
  EXPECT_EQ(out["stacks"][1][2], (json{{"function", "main"}}));
  EXPECT_EQ(out["sizes"].size(), 65u);
  EXPECT_EQ(out["sizes"][12], 9);
  EXPECT_EQ(out["lifetimes"][20], 44);
  EXPECT_EQ(out["fragmentation"], (json{{"committed", 3584},
                                        {"requested", 1500},
                                        {"rounding", 36},
                                        {"free", 2048},
                                        {"largest_free", 512},
                                        {"free_pieces", 5},
                                        {"unusable", 0.75}}));
  EXPECT_EQ(out["allocate_latency"],
            (json{{"timed", 21}, {"mean_ns", 130.5}, {"p50_ns", 90}, {"p99_ns", 1700}, {"max_ns", 22000}}));
  EXPECT_EQ(out["free_latency"]["mean_ns"], 44.25);
  EXPECT_EQ(out["patterns"][0], (json{{"kind", "many small"},
                                      {"tag", 2},
                                      {"stack", 1},
                                      {"bytes", 25},
                                      {"blocks", 18},
                                      {"text", "Eighteen small ones."},
                                      {"advice", "Use an arena."}}));
  EXPECT_EQ(out["advice"], (json{{{"bytes", 476}, {"text", "Free the cache."}}}));
  EXPECT_EQ(out["arenas"][0], (json{{"first_address", 0xa000},
                                    {"row_bytes", 64},
                                    {"column_ns", 1000000000},
                                    {"rows", 2},
                                    {"columns", 2},
                                    {"gaps", {{{"row", 1}, {"bytes", 8192}}}},
                                    {"live", {"ff00", "8001"}},
                                    {"tag", {"0100", "0202"}}}));
}

TEST(MemoryReport, LeavesOutOfJsonWhatIsNotKnown) {
  const json out = json::parse(to_json(MemoryProfile{}));
  for (const char* key : {"limit", "fragmentation", "allocate_latency", "free_latency"}) {
    EXPECT_FALSE(out.contains(key)) << key;
  }
  EXPECT_EQ(out["unfreed"], json::array());
}

json embedded(const std::string& page) {
  const std::string start = "id=\"data\">";
  const size_t begin = page.find(start) + start.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

TEST(MemoryReport, ShowsThePageOfItsJson) {
  for (const MemoryProfile& profile : {small_profile(), example::memory(), MemoryProfile{}}) {
    const std::string page = to_html(profile);
    EXPECT_EQ(embedded(page), json::parse(to_json(profile)));
    EXPECT_EQ(page, to_html(profile));
  }
  EXPECT_LT(to_html(example::memory()).size(), 400000u);
}

TEST(MemoryReport, ShowsEveryNumberOnThePage) {
  const std::string page = to_html(small_profile());
  for (const char* part :
       {"<dt>Peak</dt><dd>2.9 KiB</dd><dd class=\"note\">at 500 ms, 73.2 % of the limit</dd>",
        "<dt>Committed</dt><dd>3.5 KiB</dd><dd class=\"note\">at most; limit 4 KiB</dd>",
        "<dt>Live at the end</dt><dd>1.5 KiB</dd><dd class=\"note\">50.0 % of the peak</dd>",
        "<dt>Unfreed</dt><dd>4</dd><dd class=\"note\">of 50 blocks</dd>",
        "<dt>Refused</dt><dd>3</dd>",
        "<dt>Duration</dt><dd>2.0 s</dd><dd class=\"note\">25 allocations a second</dd>",
        "data-name=\"kv_cache\" data-values=\"0 1976 476\"",
        "data-name=\"weights\" data-values=\"1000 1024 1024\"",
        "data-name=\"committed\" data-values=\"2048 3328 3584\"",
        "<line class=\"limit\" data-value=\"4096\"",
        ">peak 2.9 KiB</text>",
        "<td class=\"number\" data-sort=\"1976\">1.9 KiB</td>",
        "<td class=\"number\" data-sort=\"476\">476 B</td><td>Free the cache.</td>",
        "<td>many small</td><td>kv_cache</td><td class=\"number\" data-sort=\"18\">18</td>",
        "<td>Eighteen small ones.</td><td>chat/cache.cc:77</td><td>Use an arena.</td>",
        "<title>weights · 100.0 % held · offset 0 B to 64 B · 0 ns to 1.0 s</title>",
        "8 KiB where nothing ever lay",
        "1.5 KiB requested + 36 B rounding + 2 KiB free = 3.5 KiB committed",
        "The free memory lies in 5 pieces, of which the largest has 512 B: 75.0 %",
        "<title>size 1 KiB: 41</title>",
        "<title>size 4 KiB: 9</title>",
        "<title>lifetime 1.0 ms: 44</title>",
        "<td>0xabc0</td><td class=\"number\" data-sort=\"1024\">1 KiB</td>",
        "<td>block 31</td><td class=\"number\" data-sort=\"333\">333 B</td>",
        "<td>cuda:1</td><td class=\"number\" data-sort=\"8\">8</td>",
        "<td>allocate</td><td class=\"number\" data-sort=\"21\">21</td>",
        "<dt>Threads</dt><dd>6</dd>",
        "<dd>2, which gave back 777 B</dd>"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
}

TEST(MemoryReport, HasNoSectionForWhatIsNotThere) {
  const std::string page = to_html(MemoryProfile{});
  EXPECT_THAT(page, Not(HasSubstr("<figure")));
  EXPECT_THAT(page, Not(HasSubstr("<table")));
  EXPECT_THAT(page, HasSubstr("<h2>Run</h2>"));
  EXPECT_THAT(to_html(small_profile()), HasSubstr("<h2>Fragmentation</h2>"));
  for (const char* heading :
       {"Usage", "The peak", "Patterns", "Addresses", "Fragmentation", "Blocks", "Not freed"}) {
    EXPECT_THAT(page, Not(HasSubstr(std::string("<h2>") + heading))) << heading;
  }
  EXPECT_EQ(to_text(MemoryProfile{}),
            "memory over 0 ns\n"
            "  allocations    0, together 0 B\n"
            "  freed          0, together 0 B\n"
            "  current        0 B in 0 blocks\n"
            "  peak           0 B at 0 ns\n");
}

TEST(MemoryReport, HidesCallsThatOnlyAllocate) {
  MemoryProfile profile;
  profile.stacks = {
      {},
      {{"operator new(unsigned long)", "", 0},
       {"std::vector<int>::push_back(int&&)", "/usr/include/c++/12/bits/stl_vector.h", 9},
       {"(anonymous namespace)::run(std::function<void ()>)", "run.cc", 3}},
      {{"malloc", "", 0}},
      // Without line numbers.
      {{"lobit::LoggingResource::do_allocate(unsigned long, unsigned long, lobit::Stream)", "a.out", 0},
       {"lobit::MemoryResource::allocate(unsigned long, unsigned long, lobit::Stream)", "a.out", 0},
       {"chat::allocate(int)", "a.out", 0}}};
  EXPECT_EQ(detail::caller(profile, 0), nullptr);
  EXPECT_EQ(detail::caller(profile, 4), nullptr);
  EXPECT_EQ(detail::caller(profile, 3)->function, "chat::allocate(int)");
  EXPECT_EQ(detail::function_text(*detail::caller(profile, 1)), "(anonymous namespace)::run");
  EXPECT_EQ(detail::place_text(*detail::caller(profile, 1)), "run.cc:3");
  EXPECT_EQ(detail::caller(profile, 2)->function, "malloc");  // better than nothing
  EXPECT_EQ(detail::function_text({"f(int)::{lambda()#1}::operator()(long) const", "", 0}),
            "f(int)::{lambda()#1}::operator()");
  EXPECT_EQ(detail::function_text({")(", "", 0}), ")(");
  // The page has them behind the caller.
  EXPECT_THAT(
      to_html(small_profile()),
      HasSubstr("<details><summary>chat::Cache::grow</summary><ol>"
                "<li>lobit::HybridMemoryPool::allocate(size_t) at lobit/memory/pool.cc:10</li>"
                "<li>chat::Cache::grow(int) const at /home/u/chat/cache.cc:77</li><li>main</li></ol>"));
}

TEST(MemoryReport, GathersTheSmallestOfManyTags) {
  MemoryProfile profile;
  profile.timeline.push_back({.time_ns = 1});
  for (uint64_t tag = 0; tag < 14; ++tag) {
    profile.tags.push_back("tag_" + std::to_string(tag));
    profile.timeline[0].bytes_by_tag.push_back(tag);  // the first holds nothing
  }
  profile.timeline[0].live_bytes = 91;
  const std::string page = to_html(profile);
  EXPECT_THAT(page, HasSubstr("class=\"area s0\" data-name=\"tag_13\" data-values=\"13 13\""));
  EXPECT_THAT(page, HasSubstr("class=\"area s8\" data-name=\"tag_5\" data-values=\"5 5\""));
  EXPECT_THAT(page, HasSubstr("class=\"area muted\" data-name=\"others: tag_4, tag_3, tag_2, tag_1\" "
                              "data-values=\"10 10\""));
}

TEST(MemoryReport, WritesOfALimitThatLiesFarAbove) {
  MemoryProfile profile = small_profile();
  profile.limit = uint64_t{1} << 40;
  const std::string page = to_html(profile);
  EXPECT_THAT(page, Not(HasSubstr("class=\"limit\"")));
  EXPECT_THAT(page, HasSubstr("the limit 1 TiB lies far above"));
}

MemoryProfile hostile_profile() {
  const std::string evil = "</script><script>alert('x')</script>\x1b[2J\xff\u202e" + std::string(5000, 'a');
  MemoryProfile profile = small_profile();
  profile.name = evil;
  profile.tags = {evil, evil, evil};
  profile.stacks[1] = {{evil, evil, UINT32_MAX}};
  profile.unfreed[0].device = evil;
  profile.unfreed[0].stack = 1;
  profile.patterns[0].text = profile.patterns[0].advice = profile.advice[0].text = evil;
  return profile;
}

TEST(MemoryReport, KeepsHostileNamesInert) {
  const MemoryProfile profile = hostile_profile();
  const std::string text = to_text(profile, {.width = 100});
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr("\u202e")));
  EXPECT_THAT(text, HasSubstr("\\x1b[2J\\xff"));
  const std::string page = to_html(profile);
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("\x1b")));
  EXPECT_EQ(embedded(page), json::parse(to_json(profile)));
  EXPECT_THAT(json::parse(to_perfetto(profile))["traceEvents"][0]["args"]["name"].get<std::string>(),
              HasSubstr("\x1b[2J\ufffd"));
}

TEST(MemoryReport, SurvivesIndicesAndNumbersOutOfBounds) {
  MemoryProfile profile = small_profile();
  profile.at_peak = {{UINT32_MAX, UINT32_MAX, UINT64_MAX, UINT64_MAX}};
  profile.at_end = profile.at_peak;
  profile.unfreed[0] = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT32_MAX, 9, 9, ""};
  profile.timeline[1].bytes_by_tag = {1};
  profile.timeline.push_back({UINT64_MAX, UINT64_MAX, UINT64_MAX, {UINT64_MAX, 5, 6, 7, 8}});
  profile.peak = profile.timeline.back();
  profile.duration_ns = profile.allocations = profile.live_bytes = UINT64_MAX;
  profile.sizes.fill(UINT64_MAX);
  profile.lifetimes.fill(UINT64_MAX);
  profile.fragmentation = MemoryFragmentation{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, 0, UINT64_MAX};
  profile.mean_lifetime_ns = std::nan("");
  profile.arenas[0].tag = {200, 200, 200, 200};
  EXPECT_THAT(to_text(profile), HasSubstr("tag 4294967295"));
  EXPECT_THAT(to_html(profile), HasSubstr("tag 4294967295"));
  EXPECT_EQ(json::parse(to_json(profile))["totals"]["allocations"], UINT64_MAX);
  EXPECT_THAT(to_perfetto(profile), HasSubstr("18446744073709551615"));
}

TEST(MemoryReport, ShowsAtMostAThousandBlocksOnThePage) {
  MemoryProfile profile;
  profile.unfreed.resize(1001);
  profile.unfreed[999].block = 424242;
  profile.unfreed[1000].block = 434343;
  const std::string page = to_html(profile);
  EXPECT_THAT(page, HasSubstr("<td>block 424242</td>"));
  EXPECT_THAT(page, Not(HasSubstr("<td>block 434343</td>")));
  EXPECT_THAT(page, HasSubstr("The largest 1,000 of 1,001 blocks."));
}

std::vector<json> events_of(const json& trace, const std::string& phase, const std::string& name) {
  std::vector<json> out;
  for (const json& event : trace["traceEvents"]) {
    if (event["ph"] == phase && (name.empty() || event["name"] == name)) out.push_back(event);
  }
  return out;
}

TEST(MemoryReport, TracesCountersOverTime) {
  const json trace = json::parse(to_perfetto(small_profile()));
  const std::vector<json> live = events_of(trace, "C", "live bytes");
  ASSERT_EQ(live.size(), 3u);
  EXPECT_EQ(live[0]["ts"], 0.0);
  EXPECT_EQ(live[0]["args"], (json{{"weights", 1000}, {"kv_cache", 0}}));
  EXPECT_EQ(live[1]["ts"], 500000.0);  // microseconds
  EXPECT_EQ(live[1]["args"], (json{{"weights", 1024}, {"kv_cache", 1976}}));
  const std::vector<json> committed = events_of(trace, "C", "committed");
  ASSERT_EQ(committed.size(), 3u);
  EXPECT_EQ(committed[2]["args"]["bytes"], 3584);
  const std::vector<json> limit = events_of(trace, "C", "limit");
  ASSERT_EQ(limit.size(), 2u);
  EXPECT_EQ(limit[1]["ts"], 2000000.0);
  EXPECT_EQ(limit[1]["args"]["bytes"], 4096);
}

TEST(MemoryReport, TracesThePeakAndUnfreedBlocks) {
  const json trace = json::parse(to_perfetto(small_profile()));
  const std::vector<json> peak = events_of(trace, "i", "");
  ASSERT_EQ(peak.size(), 1u);
  EXPECT_EQ(peak[0]["name"], "peak: 2.9 KiB live");
  EXPECT_EQ(peak[0]["s"], "g");
  const std::vector<json> begin = events_of(trace, "b", "1 KiB unfreed, weights");
  const std::vector<json> end = events_of(trace, "e", "1 KiB unfreed, weights");
  ASSERT_EQ(begin.size(), 1u);
  ASSERT_EQ(end.size(), 1u);
  EXPECT_EQ(begin[0]["id"], end[0]["id"]);
  EXPECT_EQ(begin[0]["cat"], end[0]["cat"]);
  EXPECT_EQ(begin[0]["ts"], 0.005);
  EXPECT_EQ(end[0]["ts"], 2000000.0);
  EXPECT_EQ(begin[0]["args"]["bytes"], 1024);
  EXPECT_EQ(events_of(trace, "b", "333 B unfreed, kv_cache")[0]["args"]["stack"][1],
            "chat::Cache::grow(int) const at /home/u/chat/cache.cc:77");
  std::set<std::string> names;
  for (const json& event : events_of(trace, "M", "")) names.insert(event["args"]["name"].get<std::string>());
  EXPECT_THAT(names, ElementsAre("demo", "memory", "thread 2", "thread 8"));
}

TEST(MemoryReport, TracesOnlyTheLargestBlocks) {
  MemoryProfile profile = small_profile();
  profile.unfreed.resize(5000);
  EXPECT_EQ(events_of(json::parse(to_perfetto(profile)), "b", "").size(), 200u);
}

TEST(MemoryReport, WritesFilesWhole) {
  const TemporaryFolder folder;
  const MemoryProfile profile = small_profile();
  const std::vector<std::pair<MemoryReportFormat, std::string>> wanted{
      {MemoryReportFormat::kText, to_text(profile, {.detail = ReportDetail::kTensors})},
      {MemoryReportFormat::kJson, to_json(profile)},
      {MemoryReportFormat::kHtml, to_html(profile)},
      {MemoryReportFormat::kPerfetto, to_perfetto(profile)}};
  for (const auto& [format, content] : wanted) {
    const std::filesystem::path path = folder.path() / "report";
    ASSERT_THAT(write_memory_report(profile, path, format), is_ok());
    EXPECT_EQ(read_file(path, 1 << 20).value(), content);
  }
  EXPECT_THAT(write_memory_report(profile, folder.path() / "no" / "report", MemoryReportFormat::kJson),
              fails_with(ErrorCode::kNotFound));
}

}  // namespace
}  // namespace lobit
