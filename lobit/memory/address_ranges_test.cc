#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/address_ranges_internal.h"
#include "lobit/memory/memory_test_support.h"

namespace lobit::detail {
namespace {

using Ranges = std::vector<AddressRange>;

TEST(AddressRanges, JoinsWhatTouchesOrOverlaps) {
  AddressRanges ranges;
  EXPECT_TRUE(ranges.ranges().empty());
  ranges.add(100, 10);
  ranges.add(120, 10);
  EXPECT_EQ(ranges.ranges(), (Ranges{{100, 109}, {120, 129}}));
  ranges.add(110, 5);
  ranges.add(90, 10);
  EXPECT_EQ(ranges.ranges(), (Ranges{{90, 114}, {120, 129}}));
  ranges.add(100, 25);
  EXPECT_EQ(ranges.ranges(), (Ranges{{90, 129}}));
  ranges.add(92, 3);
  ranges.add(UINT64_MAX - 4, 5);
  ranges.add(UINT64_MAX - 3, 50);
  EXPECT_EQ(ranges.ranges(), (Ranges{{90, 129}, {UINT64_MAX - 4, UINT64_MAX}}));
  ranges.add(1, UINT64_MAX);
  EXPECT_EQ(ranges.ranges(), (Ranges{{1, UINT64_MAX}}));
}

TEST(AddressRanges, AgreesWithASetOfAddresses) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    AddressRanges ranges;
    std::set<uint64_t> addresses;
    for (int i = 0; i < 60; ++i) {
      const uint64_t address = 1 + random.below(1000);
      const uint64_t bytes = random.size(16);
      ranges.add(address, bytes);
      for (uint64_t at = address; at < address + bytes; ++at) addresses.insert(at);
    }
    Ranges expected;
    for (const uint64_t at : addresses) {
      if (expected.empty() || expected.back().last + 1 != at) expected.push_back({at, at});
      expected.back().last = at;
    }
    EXPECT_EQ(ranges.ranges(), expected) << seed;
  }
}

TEST(AddressRanges, KeepsTheWidestGapsWhenThereAreTooMany) {
  AddressRanges ranges;
  // Blocks with gaps of 1 and, after every 100th, of 1000.
  uint64_t address = 4096;
  for (int i = 1; i <= 20000; ++i) {
    ranges.add(address, 15);
    address += i % 100 == 0 ? 1015 : 16;
  }
  const Ranges found = ranges.ranges();
  EXPECT_LE(found.size(), AddressRanges::kMost);
  size_t wide = 0;
  for (size_t i = 1; i < found.size(); ++i) wide += found[i].first - found[i - 1].last == 1001 ? 1 : 0;
  EXPECT_EQ(wide, 199u);
  EXPECT_EQ(found.front().first, 4096u);
}

TEST(ArenaRows, LeavesOutWhereNothingLay) {
  EXPECT_TRUE(arena_rows({}).empty());
  const std::vector<ArenaRows> arenas = arena_rows({{4096, 4100}, {8191, 8192}, {40960, 40960}});
  ASSERT_EQ(arenas.size(), 1u);
  EXPECT_EQ(arenas[0].row_bits, 12u);
  EXPECT_EQ(arenas[0].first_of, (std::vector<uint64_t>{4096, 8192, 40960}));
  ASSERT_EQ(arenas[0].gaps.size(), 1u);
  EXPECT_EQ(arenas[0].gaps[0].row, 2u);
  EXPECT_EQ(arenas[0].gaps[0].bytes, 28672u);
}

TEST(ArenaRows, TakesTheShortestRowsThatAreFewEnough) {
  EXPECT_EQ(arena_rows({{0x10000, 0x10000 + (64 << 12) - 1}})[0].row_bits, 12u);
  const std::vector<ArenaRows> more = arena_rows({{0x10000, 0x10000 + (64 << 12)}});
  EXPECT_EQ(more[0].row_bits, 13u);
  EXPECT_EQ(more[0].first_of.size(), 33u);
  const std::vector<ArenaRows> all = arena_rows({{1, UINT64_MAX}});
  EXPECT_EQ(all[0].row_bits, 58u);
  EXPECT_EQ(all[0].first_of.size(), 64u);
}

TEST(ArenaRows, CutsAtTheWidestGaps) {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  Ranges ranges;
  uint64_t first = 4096;
  for (const uint64_t gap : {kGiB, 4 * kGiB, 2 * kGiB, 3 * kGiB, kGiB - 4096}) {
    ranges.push_back({first, first + 4095});
    first += 4096 + gap;
  }
  ranges.push_back({first, first + 4095});
  const std::vector<ArenaRows> arenas = arena_rows(ranges);
  ASSERT_EQ(arenas.size(), 4u);
  EXPECT_EQ(arenas[0].first_of.size(), 2u) << "the gap of 1 GiB is one too many";
  EXPECT_EQ(arenas[0].gaps[0].bytes, kGiB);
  EXPECT_EQ(arenas[1].first_of.size(), 1u);
  EXPECT_EQ(arenas[2].first_of.size(), 1u);
  EXPECT_EQ(arenas[3].first_of.size(), 2u) << "the last gap is too narrow";
}

}  // namespace
}  // namespace lobit::detail
