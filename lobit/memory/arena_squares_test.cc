#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "lobit/memory/arena_squares_internal.h"
#include "lobit/memory/memory_test_support.h"

namespace lobit::detail {
namespace {

TEST(ArenaSquares, WeighsBytesByTime) {
  // Two rows of 4096 and columns of 1 ns.
  const std::vector<ArenaRows> rows = {{.row_bits = 12, .first_of = {4096, 16384}, .gaps = {{1, 8192}}}};
  ArenaSquares squares(rows, 4, 3);
  squares.lived(4096, 4096, 1, 0, 2);
  squares.lived(16384, 1024, 0, 1, 3);
  squares.lived(16384 + 1024, 2048, 2, 2, 4);
  squares.lived(32768, 4096, 2, 0, 4);  // in no row
  squares.lived(4096, 4096, 2, 3, 3);   // for no time
  const std::vector<ArenaMap> maps = squares.maps();
  ASSERT_EQ(maps.size(), 1u);
  EXPECT_EQ(maps[0].first_address, 4096u);
  EXPECT_EQ(maps[0].row_bytes, 4096u);
  EXPECT_EQ(maps[0].column_ns, 1u);
  EXPECT_EQ(maps[0].rows, 2u);
  EXPECT_EQ(maps[0].columns, 4u);
  EXPECT_EQ(maps[0].live, (std::vector<uint8_t>{255, 255, 0, 0, 0, 64, 191, 128}));
  EXPECT_EQ(maps[0].tag, (std::vector<uint8_t>{1, 1, 0, 0, 0, 0, 2, 2}));
  EXPECT_EQ(maps[0].gaps.size(), 1u);
}

TEST(ArenaSquares, TheLastColumnMayBeShorter) {
  const std::vector<ArenaRows> rows = {{.row_bits = 12, .first_of = {4096}, .gaps = {}}};
  ArenaSquares squares(rows, 513, 1);  // 171 columns of 3
  squares.lived(4096, 4096, 0, 0, 513);
  const ArenaMap map = squares.maps().at(0);
  EXPECT_EQ(map.column_ns, 3u);
  EXPECT_EQ(map.columns, 171u);
  EXPECT_EQ(map.live, std::vector<uint8_t>(171, 255));
  ArenaSquares uneven(rows, 514, 1);  // 171 columns of 3 and one of 1
  uneven.lived(4096, 4096, 0, 0, 514);
  EXPECT_EQ(uneven.maps().at(0).live, std::vector<uint8_t>(172, 255));
}

TEST(ArenaSquares, AgreesWithEveryByteAndNanosecond) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const uint64_t duration = 1 + random.below(700);
    const std::vector<ArenaRows> rows = {
        {.row_bits = 12, .first_of = {4096, 8192, 12288, 16384}, .gaps = {}}};
    ArenaSquares squares(rows, duration, 2);
    const uint64_t column = (duration - 1) / 256 + 1;
    const size_t columns = (duration - 1) / column + 1;
    std::vector<std::vector<uint64_t>> sums(2, std::vector<uint64_t>(4 * columns));
    for (int i = 0; i < 10; ++i) {
      const uint64_t address = 4096 + random.below(12000);
      const uint64_t bytes = random.size(20480 - address);
      const uint64_t until = random.below(duration + 1);
      const uint64_t from = random.below(until + 1);
      const auto tag = static_cast<uint32_t>(random.below(2));
      squares.lived(address, bytes, tag, from, until);
      for (uint64_t time = from; time < until; ++time) {
        for (uint64_t at = address; at < address + bytes; ++at) {
          ++sums[tag][(at / 4096 - 1) * columns + time / column];
        }
      }
    }
    const ArenaMap map = squares.maps().at(0);
    ASSERT_EQ(map.live.size(), 4 * columns);
    for (size_t i = 0; i < map.live.size(); ++i) {
      const uint64_t length = std::min(column, duration - i % columns * column);
      const double share = static_cast<double>(sums[0][i] + sums[1][i]) / static_cast<double>(4096 * length);
      const double expected =
          sums[0][i] + sums[1][i] == 0 ? 0 : std::clamp(std::floor(share * 255 + 0.5), 1.0, 255.0);
      EXPECT_EQ(map.live[i], expected) << seed << " " << i;
      EXPECT_EQ(map.tag[i], sums[1][i] > sums[0][i] ? 1 : 0) << seed << " " << i;
    }
  }
}

}  // namespace
}  // namespace lobit::detail
