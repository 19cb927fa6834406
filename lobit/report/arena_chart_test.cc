#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/report/chart.h"

namespace lobit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// "s0 o5 2,1 3x2": class, column and row, columns and rows.
std::vector<std::string> rectangles(const std::string& svg) {
  const std::regex pattern(
      "<rect class=\"bar (\\w+ o\\d)\" x=\"(\\d+)\" y=\"(\\d+)\" width=\"(\\d+)\" height=\"(\\d+)\">");
  std::vector<std::string> out;
  for (std::sregex_iterator i(svg.begin(), svg.end(), pattern), end; i != end; ++i) {
    const std::smatch& m = *i;
    out.push_back(m[1].str() + " " + m[2].str() + "," + m[3].str() + " " + m[4].str() + "x" + m[5].str());
  }
  return out;
}

ArenaChart chart_of(uint32_t rows, uint32_t columns, std::vector<uint8_t> shares,
                    std::vector<uint8_t> holder) {
  return {.title = "Arena",
          .rows = rows,
          .columns = columns,
          .row_bytes = 1048576,
          .column_seconds = 0.5,
          .holders = {{.name = "weights"}, {.name = "cache"}},
          .shares = std::move(shares),
          .holder = std::move(holder)};
}

TEST(ArenaChart, MergesEqualNeighbours) {
  const ArenaChart chart = chart_of(3, 4,
                                    {255, 255, 0, 10,   //
                                     255, 255, 0, 10,   //
                                     255, 255, 90, 0},  //
                                    {0, 0, 0, 1,        //
                                     0, 0, 0, 1,        //
                                     0, 0, 1, 0});
  EXPECT_THAT(rectangles(draw(chart)), ElementsAre("s0 o5 0,0 2x3", "s1 o1 3,0 1x2", "s1 o2 2,2 1x1"));
}

TEST(ArenaChart, TellsSharesApartInFiveLevels) {
  const ArenaChart chart = chart_of(1, 7, {0, 1, 51, 52, 153, 204, 205}, {0, 0, 0, 0, 0, 0, 0});
  EXPECT_THAT(rectangles(draw(chart)), ElementsAre("s0 o1 1,0 2x1", "s0 o2 3,0 1x1", "s0 o3 4,0 1x1",
                                                   "s0 o4 5,0 1x1", "s0 o5 6,0 1x1"));
}

TEST(ArenaChart, NamesWhatASquareIs) {
  const std::string svg = draw(chart_of(2, 2, {0, 0, 0, 51}, {0, 0, 0, 1}));
  EXPECT_THAT(svg, HasSubstr("<title>cache · 20.0 % held · offset 1 MiB to 2 MiB · 500 ms to 1.0 s</title>"));
  EXPECT_THAT(svg, HasSubstr("</svg>weights</li>"));
}

TEST(ArenaChart, LeavesGapsOutAndCountsThem) {
  ArenaChart chart = chart_of(4, 1, {255, 255, 255, 255}, {0, 0, 0, 0});
  chart.gaps = {{.row = 2, .bytes = uint64_t{3} << 30}};
  const std::string svg = draw(chart);
  EXPECT_THAT(rectangles(svg), ElementsAre("s0 o5 0,0 1x2", "s0 o5 0,2 1x2"));
  EXPECT_THAT(svg, HasSubstr("3 GiB where nothing ever lay"));
  EXPECT_THAT(svg, HasSubstr("offset 0 B to 2 MiB"));
  EXPECT_THAT(svg, HasSubstr("offset 3 GiB to 3 GiB"));
  // Rows count from the first, so the upper group is moved down by the rows below it.
  std::smatch m;
  const std::regex groups("translate\\([-0-9.]+ ([0-9.]+)\\) scale\\([-0-9.]+ -([0-9.]+)\\)");
  std::vector<double> zero;
  double height = 0;
  for (std::sregex_iterator i(svg.begin(), svg.end(), groups), end; i != end; ++i) {
    zero.push_back(std::stod((*i)[1]));
    height = std::stod((*i)[2]);
  }
  ASSERT_EQ(zero.size(), 2u);
  const double top_of_lower = zero[0] - 2 * height;
  const double bottom_of_upper = zero[1] - 2 * height;
  EXPECT_NEAR(top_of_lower - bottom_of_upper, 18, 0.02);
}

TEST(ArenaChart, StaysSmallWhateverItShows) {
  constexpr uint32_t kRows = 700;
  constexpr uint32_t kColumns = 900;
  std::vector<uint8_t> shares(kRows * kColumns);
  std::vector<uint8_t> holder(kRows * kColumns);
  for (size_t i = 0; i < shares.size(); ++i) {
    shares[i] = static_cast<uint8_t>(i * 2654435761U >> 13U);
    holder[i] = static_cast<uint8_t>(i * 40503U >> 7U & 1U);
  }
  const std::string svg = draw(chart_of(kRows, kColumns, shares, holder));
  EXPECT_LT(svg.size(), 700000u);
  EXPECT_GT(rectangles(svg).size(), 200u);
  EXPECT_LE(rectangles(svg).size(), 3000u);
}

TEST(ArenaChart, KeepsTheWholeWhenItIsCoarser) {
  const std::string svg =
      draw(chart_of(300, 1, std::vector<uint8_t>(300, 255), std::vector<uint8_t>(300, 1)));
  EXPECT_THAT(rectangles(svg), ElementsAre("s1 o5 0,0 1x150"));
  EXPECT_THAT(svg, HasSubstr("offset 0 B to 300 MiB · 0 ns to 500 ms"));
}

TEST(ArenaChart, SurvivesNothingAndNonsense) {
  EXPECT_THAT(draw(ArenaChart{}), HasSubstr("</svg>"));
  EXPECT_THAT(rectangles(draw(chart_of(2, 2, {255}, {0}))), IsEmpty());
  EXPECT_THAT(rectangles(draw(chart_of(4000000000U, 0, {}, {}))), IsEmpty());
  ArenaChart chart = chart_of(1, 2, {255, 255}, {9, 0});
  chart.row_bytes = UINT64_MAX;
  chart.gaps = {{.row = 0, .bytes = UINT64_MAX}, {.row = 77, .bytes = 1}};
  EXPECT_THAT(rectangles(draw(chart)), ElementsAre("muted o5 0,0 1x1", "s0 o5 1,0 1x1"));
}

TEST(ArenaChart, EscapesHostileNames) {
  ArenaChart chart = chart_of(1, 1, {255}, {0});
  chart.title = chart.note = chart.holders[0].name = "</title><script>alert(1)";
  EXPECT_THAT(draw(chart), Not(HasSubstr("<script")));
}

}  // namespace
}  // namespace lobit
