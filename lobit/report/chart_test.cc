#include "lobit/report/chart.h"

#include <cmath>
#include <limits>
#include <regex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/report/chart_axis.h"

namespace lobit {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct Rect {
  double x, y, width, height;
  std::string css_class, title;
};

// The bars of a drawing in their order, read back from the SVG.
std::vector<Rect> bars(const std::string& svg) {
  const std::regex pattern(
      "<rect class=\"bar (\\w+)\" x=\"([-0-9.]+)\" y=\"([-0-9.]+)\" width=\"([-0-9.]+)\" "
      "height=\"([-0-9.]+)\"><title>([^<]*)</title></rect>");
  std::vector<Rect> out;
  for (std::sregex_iterator i(svg.begin(), svg.end(), pattern), end; i != end; ++i) {
    const std::smatch& m = *i;
    out.push_back({std::stod(m[2]), std::stod(m[3]), std::stod(m[4]), std::stod(m[5]), m[1], m[6]});
  }
  return out;
}

BarChart chart_of(const std::vector<double>& values) {
  BarChart chart{.title = "Bytes", .categories = {}, .series = {{.name = "bytes", .values = values}}};
  for (size_t i = 0; i < values.size(); ++i)
    chart.categories.push_back(std::string(1, static_cast<char>('a' + i)));
  return chart;
}

TEST(BarChart, DrawsLengthsInProportion) {
  const std::vector<Rect> drawn = bars(draw(chart_of({1, 2, 4})));
  ASSERT_EQ(drawn.size(), 3u);
  EXPECT_GT(drawn[0].width, 100);
  EXPECT_NEAR(drawn[1].width, 2 * drawn[0].width, 0.05);
  EXPECT_NEAR(drawn[2].width, 4 * drawn[0].width, 0.05);
  EXPECT_EQ(drawn[0].x, drawn[2].x);
  EXPECT_LT(drawn[0].y, drawn[1].y);
  EXPECT_EQ(drawn[2].title, "c: 4");
}

TEST(BarChart, DrawsHeightsInProportionFromOneFloor) {
  BarChart chart = chart_of({1, 2, 4});
  chart.direction = BarChart::Direction::kVertical;
  const std::vector<Rect> drawn = bars(draw(chart));
  ASSERT_EQ(drawn.size(), 3u);
  EXPECT_NEAR(drawn[1].height, 2 * drawn[0].height, 0.05);
  EXPECT_NEAR(drawn[2].height, 4 * drawn[0].height, 0.05);
  EXPECT_NEAR(drawn[0].y + drawn[0].height, drawn[2].y + drawn[2].height, 0.02);
}

TEST(BarChart, DrawsLogarithmsInProportion) {
  BarChart chart = chart_of({10, 100, 1000});
  chart.scale = ChartScale::kLog;
  const std::vector<Rect> drawn = bars(draw(chart));
  ASSERT_EQ(drawn.size(), 3u);
  EXPECT_NEAR(drawn[2].width - drawn[1].width, drawn[1].width - drawn[0].width, 0.05);
  EXPECT_GT(drawn[0].width, 10);
}

TEST(BarChart, StacksFromTheEndOfTheBarBefore) {
  BarChart chart = chart_of({3, 1});
  chart.series.push_back({.name = "more", .values = {1, 2}});
  chart.arrangement = BarChart::Arrangement::kStacked;
  const std::vector<Rect> drawn = bars(draw(chart));
  ASSERT_EQ(drawn.size(), 4u);
  EXPECT_NEAR(drawn[0].x + drawn[0].width, drawn[1].x, 0.02);
  EXPECT_EQ(drawn[0].y, drawn[1].y);
  EXPECT_NEAR(drawn[0].width, 3 * drawn[1].width, 0.05);
  EXPECT_EQ(drawn[1].title, "a, more: 1");
  EXPECT_NE(drawn[0].css_class, drawn[1].css_class);
}

TEST(BarChart, PutsNegativeValuesBeforeZero) {
  const std::vector<Rect> drawn = bars(draw(chart_of({-2, 4})));
  ASSERT_EQ(drawn.size(), 2u);
  EXPECT_NEAR(drawn[0].x + drawn[0].width, drawn[1].x, 0.02);
  EXPECT_NEAR(2 * drawn[0].width, drawn[1].width, 0.05);
}

TEST(BarChart, LeavesOutWhatCannotBeDrawn) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::string svg = draw(chart_of({1, infinity, std::nan(""), 2}));
  EXPECT_EQ(bars(svg).size(), 2u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_THAT(draw(chart_of({})), HasSubstr("</svg>"));
}

TEST(BarChart, SetsMutedSeriesApart) {
  BarChart chart = chart_of({3});
  chart.series[0].muted = true;
  chart.series.push_back({.name = "after", .values = {1}});
  const std::string svg = draw(chart);
  EXPECT_EQ(bars(svg)[0].css_class, "muted");
  EXPECT_EQ(bars(svg)[1].css_class, "s0");
  EXPECT_THAT(svg, HasSubstr("<ul class=\"legend\">"));
}

TEST(BarChart, DrawsTheReferenceLineAtItsValue) {
  BarChart chart = chart_of({2});
  chart.reference = ReferenceLine{.value = 4, .label = "limit"};
  const std::string svg = draw(chart);
  const Rect bar = bars(svg).front();
  std::smatch m;
  ASSERT_TRUE(std::regex_search(svg, m, std::regex("class=\"limit\" x1=\"([0-9.]+)\"")));
  EXPECT_NEAR(std::stod(m[1]) - bar.x, 2 * bar.width, 0.05);
}

TEST(BarChart, EscapesHostileLabels) {
  BarChart chart = chart_of({1});
  chart.title = "\"><script>alert(1)</script>";
  chart.categories[0] = "<img src=x onerror=alert(1)>";
  chart.series.push_back({.name = "</title><script>", .values = {1}});
  const std::string svg = draw(chart);
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, Not(HasSubstr("<img")));
  EXPECT_THAT(svg, HasSubstr("aria-label=\"&quot;&gt;&lt;script&gt;"));
}

TEST(LineChart, PlacesPointsAndBreaksAtGaps) {
  LineChart chart{.title = "SQNR",
                  .index_title = "layer",
                  .first_index = 3,
                  .series = {{.name = "ffn", .values = {0, 10, std::nan(""), 5}}}};
  const std::string svg = draw(chart);
  std::smatch m;
  const std::regex path(
      "<path class=\"line s0\" d=\"M([0-9.]+) ([0-9.]+)L([0-9.]+) ([0-9.]+)M([0-9.]+) ([0-9.]+)\"/>");
  ASSERT_TRUE(std::regex_search(svg, m, path)) << svg;
  const double step = std::stod(m[3]) - std::stod(m[1]);
  EXPECT_NEAR(std::stod(m[5]) - std::stod(m[1]), 3 * step, 0.05);
  EXPECT_NEAR(std::stod(m[2]) - std::stod(m[6]), std::stod(m[6]) - std::stod(m[4]), 0.05);  // 5 is midway
  EXPECT_THAT(svg, HasSubstr("<title>layer 4 · ffn: 10</title>"));
}

TEST(LineChart, SurvivesManyPointsAndNone) {
  LineChart chart{.title = "t", .index_title = "i", .series = {{.name = "a"}}};
  EXPECT_THAT(draw(chart), HasSubstr("</svg>"));
  chart.series[0].values.assign(100000, 1.0);
  const std::string svg = draw(chart);
  EXPECT_THAT(svg, Not(HasSubstr("<circle")));
  size_t zones = 0;
  for (size_t at = svg.find("class=\"zone\""); at != std::string::npos;
       at = svg.find("class=\"zone\"", at + 1))
    ++zones;
  EXPECT_LE(zones, 400u);
}

detail::ValueRange range_of(ChartScale scale, const std::vector<double>& values) {
  detail::ValueRange range(scale);
  for (const double value : values) range.include(value);
  return range;
}

TEST(Axis, HasRoundTicks) {
  const detail::Axis axis(range_of(ChartScale::kLinear, {9.3}), ChartScale::kLinear, ChartUnit::kNumber,
                          true);
  EXPECT_THAT(axis.ticks(), ElementsAre(0, 2, 4, 6, 8, 10));
  EXPECT_EQ(axis.place(5), 0.5);
  EXPECT_EQ(axis.base(), 0);
}

TEST(Axis, HasTicksThatAreRoundInBytes) {
  const double mib = 1048576;
  const detail::Axis axis(range_of(ChartScale::kLinear, {550 * mib}), ChartScale::kLinear, ChartUnit::kBytes,
                          true);
  EXPECT_THAT(axis.ticks(), ElementsAre(0, 100 * mib, 200 * mib, 300 * mib, 400 * mib, 500 * mib, 600 * mib));
}

TEST(Axis, HalvesAUnitOfBytes) {
  const double mib = 1048576;
  const detail::Axis axis(range_of(ChartScale::kLinear, {1024 * mib}), ChartScale::kLinear, ChartUnit::kBytes,
                          true);
  EXPECT_THAT(axis.ticks(), ElementsAre(0, 256 * mib, 512 * mib, 768 * mib, 1024 * mib));
}

TEST(Axis, NeverRepeatsALabel) {
  const detail::ValueRange few = range_of(ChartScale::kLinear, {2});
  EXPECT_THAT(detail::Axis(few, ChartScale::kLinear, ChartUnit::kBytes, true).ticks(), ElementsAre(0, 1, 2));
  const detail::ValueRange close = range_of(ChartScale::kLinear, {9.01, 9.02});
  EXPECT_THAT(detail::Axis(close, ChartScale::kLinear, ChartUnit::kDecibels, false).ticks(),
              ElementsAre(DoubleNear(9.0, 1e-9), DoubleNear(9.1, 1e-9)));
}

TEST(Axis, EndsLogarithmsAtPowers) {
  const detail::Axis axis(range_of(ChartScale::kLog, {0.02, 30}), ChartScale::kLog, ChartUnit::kNumber, true);
  EXPECT_THAT(axis.ticks(), ElementsAre(DoubleNear(0.01, 1e-12), DoubleNear(0.1, 1e-12), 1, 10, 100));
  EXPECT_NEAR(axis.place(1), 0.5, 1e-12);
}

}  // namespace
}  // namespace lobit
