#include "lobit/memory/profile_trace.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/base/test_support.h"
#include "lobit/memory/logging_resource.h"
#include "lobit/memory/made_up_trace.h"
#include "lobit/memory/memory_test_support.h"
#include "lobit/memory/system_resource.h"

namespace lobit {
namespace {

using Bins = std::array<uint64_t, 65>;
using Holder = std::tuple<uint32_t, uint32_t, uint64_t, uint64_t>;  // tag, stack, bytes, blocks

std::vector<Holder> holders_of(const std::vector<MemoryHolder>& holders) {
  std::vector<Holder> tuples;
  for (const MemoryHolder& holder : holders) {
    tuples.emplace_back(holder.tag, holder.stack, holder.bytes, holder.blocks);
  }
  return tuples;
}

Bins bins(const std::map<size_t, uint64_t>& counts) {
  Bins all{};
  for (const auto& [bin, count] : counts) all[bin] = count;
  return all;
}

// 10 us of two threads; every number of its profile is computed by hand below.
MemoryProfile scripted() {
  MadeUpTrace trace;
  EXPECT_TRUE(trace.writer().append_name("a script").has_value());
  EXPECT_TRUE(trace.writer().append_limit(1 << 20).has_value());
  trace.allocate(1000, "weights", 5, 0x10000);
  trace.now = 100;
  trace.usage(4096);
  trace.now = 1000;
  trace.thread = 1;
  const uint64_t b = trace.allocate(3000, "kv_cache", 6, 0x11000);  // nothing explains the stack 6
  trace.now = 2000;
  const uint64_t c = trace.allocate(500);
  trace.usage(8192);
  trace.now = 2500;
  trace.refuse(uint64_t{1} << 40);
  trace.now = 3000;
  trace.free(c);
  trace.now = 4000;
  const uint64_t d = trace.allocate(2000, "kv_cache", 5);
  trace.now = 4050;
  trace.free(b);
  trace.now = 5000;
  trace.trim(4096);
  trace.usage(4096);
  trace.now = 9000;
  trace.free(d);
  trace.now = 10000;
  trace.allocate(100);
  EXPECT_TRUE(trace.writer().append_stack(5, {{"load", "load.cc", 12}}).has_value());
  return trace.profile();
}

TEST(ProfileTrace, CountsAndSums) {
  const MemoryProfile profile = scripted();
  EXPECT_EQ(profile.name, "a script");
  EXPECT_EQ(profile.duration_ns, 10000u);
  EXPECT_EQ(profile.limit, 1u << 20);
  EXPECT_EQ(profile.allocations, 5u);
  EXPECT_EQ(profile.frees, 3u);
  EXPECT_EQ(profile.refused, 1u);
  EXPECT_EQ(profile.allocated_bytes, 6600u);
  EXPECT_EQ(profile.live_bytes, 1100u);
  EXPECT_EQ(profile.live_blocks, 2u);
  EXPECT_EQ(profile.peak_committed, 8192u);
  EXPECT_EQ(profile.trims, 1u);
  EXPECT_EQ(profile.trimmed_bytes, 4096u);
  EXPECT_EQ(profile.threads, 2u);
  EXPECT_DOUBLE_EQ(profile.mean_lifetime_ns, (1000.0 + 3050.0 + 5000.0) / 3);
  EXPECT_FALSE(profile.is_estimate);
  EXPECT_EQ(profile.tags, (std::vector<std::string>{"untagged", "weights", "kv_cache"}));
  EXPECT_EQ(profile.stacks, (std::vector<StackTrace>{{}, {{"load", "load.cc", 12}}}));
  EXPECT_EQ(profile.peak_by_tag, (std::vector<uint64_t>{500, 1000, 5000}));
  EXPECT_EQ(profile.sizes, bins({{10, 1}, {12, 1}, {9, 1}, {11, 1}, {7, 1}}));
  EXPECT_EQ(profile.lifetimes, bins({{10, 1}, {12, 1}, {13, 1}}));
  EXPECT_FALSE(profile.fragmentation.has_value());
  EXPECT_FALSE(profile.allocate_latency.has_value());
}

TEST(ProfileTrace, ThePeakAndWhatIsHeld) {
  const MemoryProfile profile = scripted();
  EXPECT_EQ(profile.peak.time_ns, 4000u);
  EXPECT_EQ(profile.peak.live_bytes, 6000u);
  EXPECT_EQ(profile.peak.committed, 8192u);
  EXPECT_EQ(profile.peak.bytes_by_tag, (std::vector<uint64_t>{0, 1000, 5000}));
  EXPECT_EQ(holders_of(profile.at_peak),
            (std::vector<Holder>{{2, 0, 3000, 1}, {2, 1, 2000, 1}, {1, 1, 1000, 1}}));
  EXPECT_EQ(holders_of(profile.at_end), (std::vector<Holder>{{1, 1, 1000, 1}, {0, 0, 100, 1}}));
  ASSERT_EQ(profile.unfreed.size(), 2u);
  const UnfreedBlock& first = profile.unfreed[0];
  EXPECT_EQ(std::tuple(first.block, first.address, first.bytes, first.time_ns, first.age_ns, first.thread),
            std::tuple(1u, 0x10000u, 1000u, 0u, 10000u, 0u));
  EXPECT_EQ(std::tuple(first.tag, first.stack), std::tuple(1u, 1u));
  EXPECT_EQ(profile.unfreed[1].block, 5u);
  EXPECT_EQ(profile.unfreed[1].age_ns, 0u);
  EXPECT_EQ(profile.unfreed[1].thread, 1u);
}

TEST(ProfileTrace, TheTimelineAndTheArenas) {
  const MemoryProfile profile = scripted();
  // Intervals of 32 ns are the shortest of which 512 hold the run.
  ASSERT_EQ(profile.timeline.size(), 10000 / 32 + 1u);
  EXPECT_EQ(profile.timeline[0].live_bytes, 1000u);
  EXPECT_EQ(profile.timeline[0].committed, 0u) << "unknown as yet";
  EXPECT_EQ(profile.timeline[4].committed, 4096u);
  EXPECT_EQ(profile.timeline[125].time_ns, 4000u);
  EXPECT_EQ(profile.timeline[125].live_bytes, 6000u);
  EXPECT_EQ(profile.timeline[125].bytes_by_tag, profile.peak.bytes_by_tag);
  EXPECT_EQ(profile.timeline.back().bytes_by_tag, (std::vector<uint64_t>{100, 1000, 0}));

  ASSERT_EQ(profile.arenas.size(), 1u);
  const ArenaMap& map = profile.arenas[0];
  EXPECT_EQ(std::tuple(map.first_address, map.row_bytes, map.column_ns, map.rows, map.columns),
            std::tuple(0x10000u, 4096u, 40u, 2u, 250u));
  // 1000 of 4096 all the time; 3000 of 4096 from 1000 to 4050 ns: columns 25 to 100, and a quarter of 101.
  EXPECT_TRUE(
      std::ranges::all_of(map.live.begin(), map.live.begin() + 250, [](uint8_t s) { return s == 62; }));
  EXPECT_EQ(map.live[250 + 24], 0);
  EXPECT_EQ(map.live[250 + 25], 187);
  EXPECT_EQ(map.live[250 + 100], 187);
  EXPECT_EQ(map.live[250 + 101], 47);
  EXPECT_EQ(map.live[250 + 102], 0);
  EXPECT_EQ(map.tag[0], 1);
  EXPECT_EQ(map.tag[250 + 25], 2);
}

TEST(ProfileTrace, WhatWouldLowerThePeak) {
  const MemoryProfile profile = scripted();
  ASSERT_EQ(profile.advice.size(), 2u);
  EXPECT_EQ(profile.advice[0].bytes, 3000u);
  EXPECT_EQ(
      profile.advice[0].text,
      "2.9 KiB of kv_cache in 1 block had lived for long and were freed within 50 ns after the peak: free "
      "them before it, if they were used no more");
  EXPECT_EQ(profile.advice[1].bytes, 2192u);
  EXPECT_EQ(profile.advice[1].text,
            "2.1 KiB were committed beyond what was live, for rounding and gaps between blocks");
  EXPECT_TRUE(profile.patterns.empty());
}

// A block of 1000 from `begin`, one more of 9000 from 5000, which is the peak, and the end at 10000.
MadeUpTrace until_peak(uint64_t begin, const char* tag) {
  MadeUpTrace trace;
  trace.now = begin;
  trace.allocate(1000, tag);
  trace.now = 5000;
  trace.allocate(9000, "weights");
  return trace;
}

TEST(PeakAdvice, NamesBlocksThatWereFreedSoonAfterThePeak) {
  const auto advice = [](uint64_t begin, uint64_t freed) {
    MadeUpTrace trace = until_peak(begin, "io");
    trace.now = freed;
    trace.free(trace.block(0));
    trace.end(10000);
    return trace.profile().advice;
  };
  ASSERT_EQ(advice(4000, 5100).size(), 1u);
  EXPECT_EQ(advice(4000, 5100)[0].bytes, 1000u);
  EXPECT_EQ(advice(4000, 5101).size(), 0u) << "more than 1 % of the run later";
  EXPECT_EQ(advice(4001, 5100).size(), 0u) << "more than a tenth of its life before";
}

TEST(PeakAdvice, NamesBlocksThatMayBeLeaks) {
  const auto advice = [](uint64_t begin, const char* tag) {
    MadeUpTrace trace = until_peak(begin, tag);
    trace.end(10000);
    return trace.profile().advice;
  };
  ASSERT_EQ(advice(4000, "io").size(), 1u);
  EXPECT_EQ(advice(4000, "io")[0].bytes, 1000u);
  EXPECT_EQ(advice(4000, "io")[0].text,
            "1000 B of io in 1 block were allocated long before the peak and never freed: they may be leaks");
  EXPECT_EQ(advice(4001, "io").size(), 0u) << "less than 10 % of the run before";
  EXPECT_EQ(advice(4000, "weights").size(), 0u) << "weights are there to stay";
}

// A buffer that is replaced `times` times; the last time is the peak.
MemoryProfile regrown(int times) {
  MadeUpTrace trace;
  uint64_t block = trace.allocate(1000, "kv_cache");
  for (int i = 1; i <= times; ++i) {
    trace.now += 1000;
    const uint64_t longer = trace.allocate(1000 + 100 * static_cast<uint64_t>(i), "kv_cache");
    trace.free(std::exchange(block, longer));
  }
  trace.free(block);
  trace.end(10000);
  return trace.profile();
}

TEST(PeakAdvice, NamesOldBlocksBesideThoseThatReplaceThem) {
  const MemoryProfile profile = regrown(4);
  EXPECT_EQ(profile.peak.live_bytes, 1300u + 1400u);
  ASSERT_EQ(profile.advice.size(), 1u) << "and not once more as freed soon after the peak";
  EXPECT_EQ(profile.advice[0].bytes, 1300u);
  EXPECT_EQ(
      profile.advice[0].text,
      "1.3 KiB of kv_cache in 1 block were being replaced by longer blocks, which were live, too: reserve "
      "the whole length at once, or grow by pages");
  ASSERT_EQ(regrown(3).advice.size(), 1u);
  EXPECT_NE(regrown(3).advice[0].text.find("had lived for long"), std::string::npos);
}

TEST(PeakAdvice, LeavesOutWhatIsLessThanOnePercent) {
  const auto advice = [](uint64_t committed) {
    MadeUpTrace trace;
    trace.allocate(10000);
    trace.usage(committed);
    return trace.profile().advice.size();
  };
  EXPECT_EQ(advice(10100), 1u);
  EXPECT_EQ(advice(10099), 0u);
  EXPECT_EQ(advice(9000), 0u) << "looked at too early";
}

TEST(ProfileTrace, NothingIsKnownOfAnEmptyTrace) {
  MadeUpTrace trace;
  const MemoryProfile profile = trace.profile();
  EXPECT_EQ(profile.name, "made up");
  EXPECT_EQ(profile.allocations, 0u);
  EXPECT_EQ(profile.peak.live_bytes, 0u);
  EXPECT_EQ(profile.peak.bytes_by_tag, std::vector<uint64_t>{0});
  EXPECT_TRUE(profile.timeline.empty() && profile.arenas.empty() && profile.unfreed.empty());
  EXPECT_TRUE(profile.patterns.empty() && profile.advice.empty() && profile.at_peak.empty());
  EXPECT_EQ(profile.stacks, std::vector<StackTrace>{{}});
  EXPECT_EQ(profile.threads, 0u);
}

TEST(ProfileTrace, WithoutTimesThereIsOneMoment) {
  MadeUpTrace trace;
  for (int i = 0; i < 50; ++i) trace.free(trace.allocate(uint64_t{4} << 20, "io", 0, 4096));
  trace.allocate(1);
  const MemoryProfile profile = trace.profile();
  ASSERT_EQ(profile.timeline.size(), 1u);
  EXPECT_EQ(profile.timeline[0].live_bytes, uint64_t{4} << 20);
  EXPECT_TRUE(profile.arenas.empty());
  EXPECT_TRUE(profile.patterns.empty());
  EXPECT_EQ(profile.lifetimes, bins({{0, 50}}));
}

TEST(ProfileTrace, CommittedIsNeverLessThanLive) {
  MadeUpTrace trace;
  trace.allocate(100);
  trace.usage(128);
  trace.now = 1;
  trace.allocate(900);
  EXPECT_EQ(trace.profile().peak.committed, 1000u);
  MadeUpTrace later;
  later.allocate(1000);
  later.usage(1024);  // of the peak, since nothing was allocated or freed in between
  later.free(1);
  later.usage(4096);
  const MemoryProfile profile = later.profile();
  EXPECT_EQ(profile.peak.committed, 1024u);
  EXPECT_EQ(profile.peak_committed, 4096u);
}

TEST(ProfileTrace, TellsTheMostUnfreedBlocks) {
  MadeUpTrace trace;
  for (uint64_t i = 0; i < MemoryProfile::kMostUnfreed + 10; ++i) trace.allocate(1 + i % 2000);
  const MemoryProfile profile = trace.profile();
  EXPECT_EQ(profile.live_blocks, MemoryProfile::kMostUnfreed + 10);
  ASSERT_EQ(profile.unfreed.size(), MemoryProfile::kMostUnfreed);
  EXPECT_EQ(profile.unfreed[0].bytes, 2000u);
  EXPECT_EQ(profile.unfreed[0].block, 2000u);
  EXPECT_EQ(profile.unfreed[1].block, 4000u);
  EXPECT_EQ(profile.unfreed.back().bytes, 2u) << "of the 6 smallest, with 1 byte, and 5 others none is told";
}

TEST(ProfileTrace, NumbersMayBeAsLargeAsTheFormatAllows) {
  MadeUpTrace trace;
  trace.now = UINT64_MAX - 1;
  trace.thread = UINT32_MAX;
  trace.free(trace.allocate(UINT64_MAX, "io", UINT32_MAX, UINT64_MAX));
  trace.free(trace.allocate(UINT64_MAX, "io", UINT32_MAX, 1));
  trace.trim(UINT64_MAX);
  trace.trim(UINT64_MAX);
  trace.usage(UINT64_MAX);
  trace.now = UINT64_MAX;
  trace.allocate(UINT64_MAX, "io", 0, 1);
  const MemoryProfile profile = trace.profile();
  EXPECT_EQ(profile.allocated_bytes, UINT64_MAX);
  EXPECT_EQ(profile.trimmed_bytes, UINT64_MAX);
  EXPECT_EQ(profile.peak.live_bytes, UINT64_MAX);
  EXPECT_EQ(profile.threads, uint64_t{1} << 32);
  EXPECT_EQ(profile.sizes, bins({{64, 3}}));
  EXPECT_EQ(profile.timeline.size(), 512u);
}

TEST(ProfileTrace, RefusesWhatReadersRefuse) {
  const std::string text = std::string(kTraceHeader) + "\nfree,0,0,1,1,1,0,untagged,0,0\n";
  const MemorySource source(std::as_bytes(std::span(text)), "t");
  EXPECT_THAT(profile_trace(source), fails_with(ErrorCode::kCorrupt));
  const std::string two =
      std::string(kTraceHeader) + "\nallocate,0,0,1,1,1,0,untagged,0,0\nallocate,0,0,2,1,1,0,untagged,0,0\n";
  const MemorySource both(std::as_bytes(std::span(two)), "t");
  EXPECT_THAT(profile_trace(both), is_ok());
  EXPECT_THAT(profile_trace(both, {.max_live_blocks = 1}), fails_with(ErrorCode::kLimit));
}

// Is another one when it is read from the start again.
class Changing final : public ByteSource {
 public:
  Changing(std::string first, std::string second) : texts_{std::move(first), std::move(second)} {}
  const std::string& name() const override { return name_; }
  uint64_t size() const override { return texts_[0].size(); }
  Status read_at(uint64_t offset, std::span<std::byte> out) const override {
    const std::string& text = texts_[reads_++ == 0 ? 0 : 1];
    std::ranges::copy(std::as_bytes(std::span(text)).subspan(offset, out.size()), out.begin());
    return {};
  }

 private:
  std::string name_ = "changing";
  std::array<std::string, 2> texts_;
  mutable int reads_ = 0;
};

TEST(ProfileTrace, NoticesAFileThatChanges) {
  const std::string header = std::string(kTraceHeader) + "\n";
  const std::string one = header + "trim,0,0,0,1,0,0,untagged,0,0\n";
  for (const char* other : {"trim,0,9,0,1,0,0,untagged,0,0\n", "refuse,0,0,0,1,0,0,io,0,0\n     "}) {
    const Changing source(one, header + other);
    const Result<MemoryProfile> profile = profile_trace(source);
    ASSERT_THAT(profile, fails_with(ErrorCode::kCorrupt)) << other;
    EXPECT_EQ(profile.error().message, "changing: changed while it was read");
  }
  const Changing grown(header + "trim,0,0,0,1,0,0,untagged,0,0\n#\n##\n",
                       header + "allocate,0,0,1,1,1,0,untagged,0,0\n");
  EXPECT_THAT(profile_trace(grown), fails_with(ErrorCode::kCorrupt));
}

// Everything that has a plain definition, by looking at every block again for each event.
struct Reference {
  struct Block {
    uint64_t bytes;
    uint32_t tag;
    uint32_t stack;
    size_t from;
    size_t until;
  };
  std::vector<Block> blocks;
  std::vector<uint64_t> times;
  std::vector<std::optional<uint64_t>> usages;

  std::map<std::pair<uint32_t, uint32_t>, std::pair<uint64_t, uint64_t>> held_after(size_t event) const {
    std::map<std::pair<uint32_t, uint32_t>, std::pair<uint64_t, uint64_t>> held;
    for (const Block& block : blocks) {
      if (block.from > event || block.until <= event) continue;
      auto& [bytes, count] = held[{block.tag, block.stack}];
      bytes += block.bytes;
      ++count;
    }
    return held;
  }
};

MadeUpTrace random_trace(uint64_t seed, Reference& reference) {
  constexpr std::array<const char*, 3> kTags = {"untagged", "io", "scratch"};
  Random random(seed);
  MadeUpTrace trace;
  EXPECT_EQ(trace.writer().add_tag("io"), 1);
  std::vector<size_t> live;
  // First, so that a reader numbers the tags as here.
  trace.free(trace.allocate(1, "io"));
  trace.free(trace.allocate(1, "scratch"));
  for (size_t i = 0; i < 2; ++i) {
    reference.blocks.push_back({1, static_cast<uint32_t>(i + 1), 0, 2 * i, 2 * i + 1});
  }
  reference.times.resize(4);
  reference.usages.resize(4);
  for (size_t event = 4; event < 400; ++event) {
    trace.now += random.below(100);
    reference.times.push_back(trace.now);
    reference.usages.emplace_back();
    const uint64_t kind = random.below(10);
    if (kind == 0) {
      reference.usages.back() = random.below(100000);
      trace.usage(*reference.usages.back());
    } else if (kind < 6 || live.empty()) {
      const uint64_t bytes = random.size(4096);
      const auto tag = static_cast<uint32_t>(random.below(3));
      const auto stack = static_cast<uint32_t>(random.below(4));
      trace.allocate(bytes, kTags[tag], 10 * stack, random.below(2) * (1 + random.below(1 << 20)));
      live.push_back(reference.blocks.size());
      reference.blocks.push_back({bytes, tag, stack == 3 ? 0 : stack, event, SIZE_MAX});
    } else {
      const size_t place = random.below(live.size());
      reference.blocks[live[place]].until = event;
      trace.free(live[place] + 1);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(place));
    }
  }
  for (const uint32_t stack : {10U, 20U}) {
    EXPECT_TRUE(trace.writer().append_stack(stack, {{"f", "a.cc", stack}}).has_value());
  }
  return trace;
}

std::vector<Holder> holders_after(const Reference& reference, size_t event) {
  std::vector<Holder> holders;
  for (const auto& [key, held] : reference.held_after(event)) {
    holders.emplace_back(key.first, key.second, held.first, held.second);
  }
  const auto order = [](const Holder& holder) {
    return std::tuple(UINT64_MAX - get<2>(holder), get<0>(holder), get<1>(holder));
  };
  std::ranges::sort(holders, {}, order);
  return holders;
}

uint64_t bytes_of(const std::vector<Holder>& holders) {
  uint64_t bytes = 0;
  for (const Holder& holder : holders) bytes += get<2>(holder);
  return bytes;
}

TEST(ProfileTrace, AgreesWithWhatEachEventShows) {
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Reference reference;
    MadeUpTrace trace = random_trace(seed, reference);
    const MemoryProfile profile = trace.profile();
    size_t peak = 0;
    uint64_t most = 0;
    std::optional<uint64_t> usage;
    uint64_t most_committed = 0;
    std::vector<uint64_t> most_by_tag(3);
    for (size_t event = 0; event < reference.times.size(); ++event) {
      const std::vector<Holder> holders = holders_after(reference, event);
      const uint64_t live = bytes_of(holders);
      if (live > most) std::tie(peak, most) = std::pair(event, live);
      if (reference.usages[event].has_value()) usage = reference.usages[event];
      if (usage.has_value()) most_committed = std::max({most_committed, *usage, live});
      for (uint32_t tag = 0; tag < 3; ++tag) {
        uint64_t bytes = 0;
        for (const Holder& holder : holders) bytes += get<0>(holder) == tag ? get<2>(holder) : 0;
        most_by_tag[tag] = std::max(most_by_tag[tag], bytes);
      }
    }
    EXPECT_EQ(profile.peak.live_bytes, most);
    EXPECT_EQ(profile.peak.time_ns, reference.times[peak]);
    EXPECT_EQ(profile.peak_committed, most_committed);
    EXPECT_EQ(profile.peak_by_tag, most_by_tag);
    EXPECT_EQ(holders_of(profile.at_peak), holders_after(reference, peak));
    EXPECT_EQ(holders_of(profile.at_end), holders_after(reference, reference.times.size() - 1));
    EXPECT_EQ(bytes_of(holders_of(profile.at_end)), profile.live_bytes);
    uint64_t unfreed = 0;
    for (const UnfreedBlock& block : profile.unfreed) unfreed += block.bytes;
    EXPECT_EQ(unfreed, profile.live_bytes);
    const auto highest = std::ranges::max_element(profile.timeline, {}, &MemoryMoment::live_bytes);
    EXPECT_EQ(highest->live_bytes, most);
    EXPECT_EQ(highest->bytes_by_tag, profile.peak.bytes_by_tag);
    uint64_t in_lifetimes = 0;
    for (const uint64_t count : profile.lifetimes) in_lifetimes += count;
    EXPECT_EQ(in_lifetimes, profile.frees);
  }
}

TEST(ProfileTrace, ExplainsWhatALoggingResourceWrote) {
  TraceText text;
  SystemResource system;
  LoggingResource logging(system, text, {.name = "a test", .limit = 1 << 20});
  const auto take = [&logging](MemoryTag tag) {
    const ScopedMemoryTag scope(tag);
    return *logging.allocate(100000);
  };
  void* weights = take(MemoryTag::kWeights);
  void* scratch = take(MemoryTag::kScratch);
  ASSERT_THAT(logging.deallocate(scratch, 100000), is_ok());
  ASSERT_THAT(logging.close(), is_ok());
  const MemorySource source(std::as_bytes(std::span(text.text())), "trace");
  const Result<MemoryProfile> profile = profile_trace(source);
  ASSERT_THAT(profile, is_ok());
  EXPECT_EQ(profile->name, "a test");
  EXPECT_EQ(profile->limit, 1u << 20);
  EXPECT_EQ(profile->tags, (std::vector<std::string>{"untagged", "weights", "scratch"}));
  EXPECT_EQ(profile->peak.bytes_by_tag, (std::vector<uint64_t>{0, 100000, 100000}));
  EXPECT_EQ(profile->live_bytes, 100000u);
  EXPECT_GE(profile->peak_committed, 200000u);
  ASSERT_EQ(profile->unfreed.size(), 1u);
  EXPECT_EQ(profile->unfreed[0].address, reinterpret_cast<uintptr_t>(weights));
  EXPECT_EQ(profile->arenas.empty(), false);
  ASSERT_THAT(logging.deallocate(weights, 100000), is_ok());
}

}  // namespace
}  // namespace lobit
