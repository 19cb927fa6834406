// Each kind of pattern in a trace that was made up to show it, and in one that nearly does.
#include <array>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/made_up_trace.h"
#include "lobit/memory/memory_patterns_internal.h"
#include "lobit/memory/memory_test_support.h"

namespace lobit {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

std::vector<MemoryPattern> patterns_of(MadeUpTrace& trace, MemoryPatternKind kind) {
  std::vector<MemoryPattern> patterns = trace.profile().patterns;
  std::erase_if(patterns, [kind](const MemoryPattern& pattern) { return pattern.kind != kind; });
  return patterns;
}

TEST(MemoryPatterns, FormatsTimes) {
  EXPECT_EQ(detail::format_ns(0), "0 ns");
  EXPECT_EQ(detail::format_ns(999), "999 ns");
  EXPECT_EQ(detail::format_ns(1500), "1.5 us");
  EXPECT_EQ(detail::format_ns(2000000), "2.0 ms");
  EXPECT_EQ(detail::format_ns(61000000000), "61.0 s");
}

MadeUpTrace repeating(int times, int live) {
  MadeUpTrace trace;
  EXPECT_TRUE(trace.writer().append_stack(7, {{"step", "a.cc", 1}}).has_value());
  for (int i = 0; i < times; ++i) {
    for (int j = 0; j < live; ++j) trace.allocate(4096, "activations", 7);
    trace.free_all();
  }
  return trace;
}

TEST(MemoryPatterns, Repeating) {
  MadeUpTrace trace = repeating(50, 2);
  const auto found = patterns_of(trace, MemoryPatternKind::kRepeating);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].bytes, 4096u);
  EXPECT_EQ(found[0].blocks, 100u);
  EXPECT_EQ(found[0].tag, 1u);
  EXPECT_EQ(found[0].stack, 1u);
  EXPECT_EQ(found[0].text,
            "100 blocks of 4 KiB were allocated for activations, at most 2 of them live at a time");
  EXPECT_EQ(found[0].advice, "Keep 2 blocks of 4 KiB and use them again: 98 allocations less");
  MadeUpTrace one = repeating(100, 1);
  EXPECT_EQ(patterns_of(one, MemoryPatternKind::kRepeating).at(0).advice,
            "Keep 1 block of 4 KiB and use it again: 99 allocations less");
}

TEST(MemoryPatterns, NotRepeatingWhenSeldomOrManyLive) {
  MadeUpTrace seldom = repeating(99, 1);
  EXPECT_TRUE(patterns_of(seldom, MemoryPatternKind::kRepeating).empty());
  MadeUpTrace many = repeating(50, 5);
  EXPECT_TRUE(patterns_of(many, MemoryPatternKind::kRepeating).empty());
}

MadeUpTrace short_lived(int blocks, uint64_t bytes, uint64_t lifetime) {
  MadeUpTrace trace;
  for (int i = 0; i < blocks; ++i) {
    trace.now = static_cast<uint64_t>(i) * 1000;
    const uint64_t block = trace.allocate(bytes + static_cast<uint64_t>(i), "scratch");
    trace.now += lifetime;
    trace.free(block);
  }
  trace.end(100000);
  return trace;
}

TEST(MemoryPatterns, ShortLivedLarge) {
  MadeUpTrace trace = short_lived(32, kMiB, 999);
  const auto found = patterns_of(trace, MemoryPatternKind::kShortLivedLarge);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].bytes, kMiB + 31);
  EXPECT_EQ(found[0].blocks, 32u);
  EXPECT_EQ(found[0].tag, 1u);
  EXPECT_EQ(found[0].text, "32 blocks of 1 MiB to 1 MiB lived for at most 999 ns, less than 1 % of the run");
  EXPECT_EQ(found[0].advice, "Keep a buffer of 1 MiB and use it each time");
}

TEST(MemoryPatterns, NotShortLivedLargeWhenSeldomOrSmallOrLonger) {
  MadeUpTrace seldom = short_lived(31, kMiB, 999);
  EXPECT_TRUE(patterns_of(seldom, MemoryPatternKind::kShortLivedLarge).empty());
  MadeUpTrace small = short_lived(32, kMiB - 1, 999);
  EXPECT_TRUE(patterns_of(small, MemoryPatternKind::kShortLivedLarge).empty());
  MadeUpTrace longer = short_lived(32, kMiB, 1000);
  EXPECT_TRUE(patterns_of(longer, MemoryPatternKind::kShortLivedLarge).empty());
}

// 16 parts of 100 ns. In each a block of 1000 is added that stays, unless the part is in `without`; blocks of
// 500 come and go. `falls`: in one part three of those that stay are freed.
MadeUpTrace growth(const std::vector<int>& without, bool falls) {
  MadeUpTrace trace;
  for (int part = 0; part < 16; ++part) {
    trace.now = static_cast<uint64_t>(part) * 100;
    const bool adds = std::ranges::find(without, part) == without.end();
    if (adds) trace.allocate(1000, "kv_cache");
    const uint64_t passing = trace.allocate(500, "kv_cache");
    trace.now += 50;
    trace.free(passing);
    for (int i = 0; falls && part == 8 && i < 3; ++i) trace.free(trace.block(0));
  }
  trace.end(1599);
  return trace;
}

TEST(MemoryPatterns, Growth) {
  // In the first part nothing was held when it began: rises from the second part on.
  MadeUpTrace trace = growth({3, 7, 11}, false);
  const auto found = patterns_of(trace, MemoryPatternKind::kGrowth);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].bytes, 12000u) << "that of the last part was not there all the time";
  EXPECT_EQ(found[0].blocks, 13u);
  EXPECT_EQ(found[0].tag, 1u);
  EXPECT_EQ(
      found[0].text,
      "What is held rose to 11.7 KiB in 13 blocks, in 12 of 16 parts of the run, and never fell between "
      "them");
}

// A timeline of 64 intervals in which tag 1 holds what `held` says of the interval, in 7 blocks at the end.
MemoryProfile timeline_of(uint64_t (*held)(uint64_t interval)) {
  MemoryProfile profile;
  profile.duration_ns = 6400;
  for (uint64_t i = 0; i < 65; ++i) {
    const uint64_t bytes = held(i);
    profile.timeline.push_back(
        {.time_ns = 100 * i, .live_bytes = 5000 + bytes, .bytes_by_tag = {5000, bytes}});
    profile.peak.live_bytes = std::max(profile.peak.live_bytes, 5000 + bytes);
  }
  profile.at_end = {{.tag = 1, .stack = 1, .bytes = held(64), .blocks = 4},
                    {.tag = 1, .stack = 2, .blocks = 3},
                    {.tag = 0, .bytes = 5000, .blocks = 1}};
  return profile;
}

TEST(MemoryPatterns, GrowthOfATimeline) {
  const auto found = detail::growth_patterns(timeline_of([](uint64_t i) { return 1000 + 100 * i; }));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].kind, MemoryPatternKind::kGrowth);
  EXPECT_EQ(found[0].tag, 1u);
  EXPECT_EQ(found[0].blocks, 7u);
  // What it held all through the last of 16 parts, which began with interval 60.
  EXPECT_GE(found[0].bytes, 1000u + 100 * 59);
  EXPECT_LE(found[0].bytes, 1000u + 100 * 61);
}

TEST(MemoryPatterns, NoGrowthOfATimelineThatSwaysOrIsShort) {
  EXPECT_TRUE(detail::growth_patterns(timeline_of([](uint64_t i) { return 1000 * (i % 8); })).empty());
  EXPECT_TRUE(detail::growth_patterns(timeline_of([](uint64_t) { return uint64_t{1000}; })).empty());
  MemoryProfile few = timeline_of([](uint64_t i) { return 1000 + 100 * i; });
  few.timeline.erase(few.timeline.begin(), few.timeline.begin() + 32);
  EXPECT_TRUE(detail::growth_patterns(few).empty());
}

TEST(MemoryPatterns, ShortLivedLargeFromDoublings) {
  std::array<uint64_t, 65> lifetimes{};
  lifetimes[3] = 20;
  lifetimes[10] = 12;  // up to 1024 ns
  lifetimes[11] = 1000;
  const auto found = detail::short_lived_patterns(lifetimes, 102'400);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].blocks, 32u);
  EXPECT_EQ(found[0].text, "32 blocks of 1 MiB or more lived for at most 1.0 us, less than 1 % of the run");
  EXPECT_TRUE(detail::short_lived_patterns(lifetimes, 102'399).empty());
  EXPECT_TRUE(detail::short_lived_patterns(lifetimes, 0).empty());
  lifetimes.fill(1);
  EXPECT_EQ(detail::short_lived_patterns(lifetimes, UINT64_MAX)[0].blocks, 58u);
}

TEST(MemoryPatterns, NoGrowthWhenItRestsOrFalls) {
  MadeUpTrace rests = growth({3, 7, 10, 11}, false);
  EXPECT_TRUE(patterns_of(rests, MemoryPatternKind::kGrowth).empty());
  MadeUpTrace falls = growth({}, true);
  EXPECT_TRUE(patterns_of(falls, MemoryPatternKind::kGrowth).empty());
  MadeUpTrace all = growth({}, false);
  EXPECT_EQ(patterns_of(all, MemoryPatternKind::kGrowth).size(), 1u);
}

// Each buffer is replaced `times` times by one that is 100 longer; a header of 16 bytes comes with each.
MadeUpTrace regrowth(int buffers, int times) {
  MadeUpTrace trace;
  for (int buffer = 0; buffer < buffers; ++buffer) {
    uint64_t data = trace.allocate(1000, "kv_cache");
    uint64_t header = trace.allocate(16, "kv_cache");
    for (int i = 1; i <= times; ++i) {
      const uint64_t longer = trace.allocate(1000 + 100 * static_cast<uint64_t>(i), "kv_cache");
      const uint64_t its_header = trace.allocate(16, "kv_cache");
      trace.free(std::exchange(data, longer));
      trace.free(std::exchange(header, its_header));
    }
  }
  return trace;
}

TEST(MemoryPatterns, Regrowth) {
  MadeUpTrace trace = regrowth(2, 4);
  const auto found = patterns_of(trace, MemoryPatternKind::kRegrowth);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].bytes, 1400u);
  EXPECT_EQ(found[0].blocks, 8u);
  // 2 x (1000 + 1100 + 1200 + 1300) = 9200
  EXPECT_EQ(
      found[0].text,
      "8 blocks were replaced by longer ones, up to 4 one after the other and up to 1.4 KiB long: 9 KiB "
      "were copied, and each time the old and the new one were live");
  EXPECT_EQ(found[0].advice, "Reserve 1.4 KiB at once, or grow by pages that stay where they are");
}

TEST(MemoryPatterns, NoRegrowthWhenChainsAreShortOrFew) {
  MadeUpTrace shorter = regrowth(20, 3);
  EXPECT_TRUE(patterns_of(shorter, MemoryPatternKind::kRegrowth).empty());
  MadeUpTrace few = regrowth(1, 7);
  EXPECT_TRUE(patterns_of(few, MemoryPatternKind::kRegrowth).empty());
  MadeUpTrace enough = regrowth(1, 8);
  EXPECT_EQ(patterns_of(enough, MemoryPatternKind::kRegrowth).size(), 1u);
}

TEST(MemoryPatterns, NoRegrowthInBlocksWithoutOrder) {
  Random random(1);
  MadeUpTrace trace;
  for (int i = 0; i < 20000; ++i) {
    if (trace.live() > 10) trace.free(trace.block(random.below(trace.live())));
    trace.allocate(1 + random.below(1000));
  }
  EXPECT_TRUE(patterns_of(trace, MemoryPatternKind::kRegrowth).empty());
}

// Blocks that are allocated 1 ns after the other and freed in the same order after `lifetime`, every
// `slow_every`th ten times as late.
MadeUpTrace many_small(size_t blocks, uint64_t bytes, size_t slow_every) {
  constexpr uint64_t kLifetime = 100000;
  MadeUpTrace trace;
  std::vector<uint64_t> slow;
  for (size_t i = 0; i < blocks; ++i) {
    trace.now = i;
    trace.allocate(bytes, "scratch");
  }
  for (size_t i = 0; i < blocks; ++i) {
    trace.now = kLifetime + i;
    const uint64_t block = trace.block(slow.size());
    if (i % slow_every == slow_every - 1) {
      slow.push_back(block);
    } else {
      trace.free(block);
    }
  }
  trace.now = 10 * kLifetime;
  trace.free_all();
  return trace;
}

TEST(MemoryPatterns, ManySmall) {
  MadeUpTrace trace = many_small(1000, 100, 2000);
  const auto found = patterns_of(trace, MemoryPatternKind::kManySmall);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].blocks, 1000u);
  EXPECT_EQ(found[0].bytes, 100000u);
  EXPECT_EQ(
      found[0].text,
      "1000 blocks of less than 1 KiB were live at a time, 97.7 KiB in all, and lived equally long: 100.0 "
      "us on average, with a standard deviation of 0 ns");
  EXPECT_EQ(found[0].advice, "Take them from one arena of 97.7 KiB that is freed at once");
}

TEST(MemoryPatterns, NotManySmallWhenFewOrLargerOrOfUnequalLives) {
  MadeUpTrace few = many_small(999, 100, 2000);
  EXPECT_TRUE(patterns_of(few, MemoryPatternKind::kManySmall).empty());
  MadeUpTrace larger = many_small(1000, 1024, 2000);
  EXPECT_TRUE(patterns_of(larger, MemoryPatternKind::kManySmall).empty());
  MadeUpTrace unequal = many_small(1000, 100, 10);
  EXPECT_TRUE(patterns_of(unequal, MemoryPatternKind::kManySmall).empty());
}

TEST(MemoryPatterns, Fragmentation) {
  MadeUpTrace trace;
  trace.allocate(2 * kMiB);
  const uint64_t large = trace.allocate(10 * kMiB);
  trace.usage(18 * kMiB);
  trace.free(large);
  trace.usage(3 * kMiB);
  const auto found = patterns_of(trace, MemoryPatternKind::kFragmentation);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].bytes, 6 * kMiB);
  EXPECT_EQ(found[0].blocks, 2u);
  EXPECT_EQ(found[0].text,
            "When last looked at up to the peak, 18 MiB were committed for 12 MiB live in 2 blocks");
  EXPECT_EQ(found[1].bytes, 1 * kMiB);
  EXPECT_EQ(found[1].text, "When last looked at, 3 MiB were committed for 2 MiB live in 1 block");
}

TEST(MemoryPatterns, NoFragmentationWhenLittleIsMore) {
  MadeUpTrace trace;
  trace.allocate(2 * kMiB);
  const uint64_t large = trace.allocate(10 * kMiB);
  trace.usage(18 * kMiB - 1);
  trace.free(large);
  trace.usage(3 * kMiB - 1);
  EXPECT_TRUE(patterns_of(trace, MemoryPatternKind::kFragmentation).empty());
}

TEST(MemoryPatterns, WhatAPoolKeepsWhenNothingIsLiveIsNoFragmentation) {
  MadeUpTrace trace;
  trace.free(trace.allocate(8 * kMiB));
  trace.usage(8 * kMiB);
  EXPECT_TRUE(patterns_of(trace, MemoryPatternKind::kFragmentation).empty());
}

TEST(MemoryPatterns, OfEachKindTheWeightiestAreTold) {
  MadeUpTrace trace;
  for (uint64_t bytes = 1; bytes <= 8; ++bytes) {
    for (int i = 0; i < 100; ++i) trace.free(trace.allocate(bytes));
  }
  const auto found = patterns_of(trace, MemoryPatternKind::kRepeating);
  ASSERT_EQ(found.size(), 5u);
  EXPECT_EQ(found[0].bytes, 8u);
  EXPECT_EQ(found[4].bytes, 4u);
}

}  // namespace
}  // namespace lobit
