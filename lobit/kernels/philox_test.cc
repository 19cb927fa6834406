#include "lobit/kernels/philox.h"

#include <algorithm>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/kernels/simd.h"

namespace lobit::kernels {
namespace {

class EverySimdLevel : public testing::TestWithParam<SimdLevel> {
 protected:
  void SetUp() override { ASSERT_TRUE(set_simd_level(GetParam())); }
  void TearDown() override { set_simd_level(simd_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Philox, EverySimdLevel,
                         testing::ValuesIn(simd_levels().begin(), simd_levels().end()),
                         [](const auto& level) { return std::string(simd_level_name(level.param)); });

// The vectors that the algorithm's authors publish.
TEST(Philox4x32, GivesThePublishedValues) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (PhiloxBlock{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  constexpr uint32_t kOnes = 0xFFFFFFFF;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (PhiloxBlock{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  EXPECT_EQ(philox4x32({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, {0xA4093822, 0x299F31D0}),
            (PhiloxBlock{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
}

std::vector<uint16_t> identity_table() {
  std::vector<uint16_t> table(65536);
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint16_t>(i);
  return table;
}

uint16_t expected_word(uint64_t seed, uint64_t stream, uint64_t index) {
  const uint64_t b = index / 8;
  const PhiloxBlock block = philox4x32({static_cast<uint32_t>(b), static_cast<uint32_t>(b >> 32),
                                        static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)},
                                       {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return static_cast<uint16_t>(block[index % 8 / 2] >> (index % 2 * 16));
}

TEST_P(EverySimdLevel, FillsFromTheStream) {
  const std::vector<uint16_t> table = identity_table();
  constexpr uint64_t kSeed = 0x299F31D0A4093822;
  constexpr uint64_t kStream = 0x0370734413198A2E;
  // The second start crosses the carry from the low to the high word of the counter.
  for (const uint64_t first : {uint64_t{0}, (uint64_t{1} << 35) - 1003, uint64_t{0xFEDCBA9876543215}}) {
    std::vector<uint16_t> out(2000);
    fill_from_table(kSeed, kStream, first, table.data(), out.data(), out.size());
    for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], expected_word(kSeed, kStream, first + i)) << i;
  }
}

TEST_P(EverySimdLevel, DoesNotDependOnThePieces) {
  const std::vector<uint16_t> table = identity_table();
  std::vector<uint16_t> whole(5000);
  fill_from_table(7, 9, 100, table.data(), whole.data(), whole.size());
  std::vector<uint16_t> pieces(whole.size() + 1, 0xABCD);
  size_t done = 0;
  for (size_t piece = 1; done < whole.size(); piece = piece * 3 % 1021 + 1) {
    const size_t n = std::min(piece, whole.size() - done);
    fill_from_table(7, 9, 100 + done, table.data(), pieces.data() + done, n);
    done += n;
  }
  EXPECT_EQ(pieces.back(), 0xABCD);
  pieces.pop_back();
  EXPECT_EQ(pieces, whole);
}

TEST_P(EverySimdLevel, LooksUpTheTable) {
  std::vector<uint16_t> table = identity_table();
  std::ranges::reverse(table);
  std::vector<uint16_t> out(64);
  fill_from_table(1, 2, 3, table.data(), out.data(), out.size());
  for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], 65535 - expected_word(1, 2, 3 + i)) << i;
}

}  // namespace
}  // namespace lobit::kernels
