#include <cmath>
#include <regex>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lobit/report/chart.h"

namespace lobit {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct Corner {
  double x, y;
};

// A path of the class, read back from the drawing.
struct Path {
  std::string css_class;
  std::string name;
  std::string values;
  std::vector<Corner> corners;
};

// What stands between `name="` and the next quote, from `at` on. std::regex would need a stack as deep as the
// long ones.
std::string attribute_text(const std::string& svg, const std::string& name, size_t at) {
  const size_t begin = svg.find(name + "=\"", at) + name.size() + 2;
  return svg.substr(begin, svg.find('"', begin) - begin);
}

std::vector<Path> paths(const std::string& svg) {
  std::vector<Path> out;
  for (size_t at = svg.find("<path class="); at != std::string::npos; at = svg.find("<path class=", at + 1)) {
    if (svg.find("data-name=", at) > svg.find('>', at)) continue;  // a swatch
    Path found{attribute_text(svg, "class", at),
               attribute_text(svg, "data-name", at),
               attribute_text(svg, "data-values", at),
               {}};
    std::string d = attribute_text(svg, " d", at);
    for (char& c : d) c = c == 'M' || c == 'L' || c == 'Z' ? ' ' : c;
    std::istringstream numbers(d);
    for (Corner corner{}; numbers >> corner.x >> corner.y;) found.corners.push_back(corner);
    out.push_back(std::move(found));
  }
  return out;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

double attribute(const std::string& svg, const std::string& pattern) {
  std::smatch m;
  EXPECT_TRUE(std::regex_search(svg, m, std::regex(pattern))) << pattern;
  return m.empty() ? 0 : std::stod(m[1]);
}

AreaChart two_tags() {
  return {.title = "Usage",
          .times = {0, 1, 2, 4},
          .end = 4,
          .areas = {{.name = "weights", .values = {100, 200, 200, 0}},
                    {.name = "cache", .values = {0, 100, 200, 50}}},
          .line = ChartSeries{.name = "committed", .values = {150, 350, 500, 500}},
          .unit = ChartUnit::kBytes,
          .reference = ReferenceLine{.value = 600, .label = "limit"},
          .moment = ReferenceLine{.value = 2, .label = "peak"}};
}

TEST(AreaChart, StacksAreasOnOneAnother) {
  const std::vector<Path> drawn = paths(draw(two_tags()));
  ASSERT_EQ(drawn.size(), 3u);
  EXPECT_EQ(drawn[0].css_class, "area s0");
  EXPECT_EQ(drawn[1].css_class, "area s1");
  ASSERT_EQ(drawn[0].corners.size(), 8u);  // there and back
  const double floor = drawn[0].corners[7].y;
  const double unit = (floor - drawn[0].corners[0].y) / 100;
  EXPECT_GT(unit, 0.1);
  EXPECT_NEAR(drawn[1].corners[1].y, floor - 300 * unit, 0.02);
  EXPECT_NEAR(drawn[1].corners[3].y, floor - 50 * unit, 0.02);
  for (size_t i = 0; i < 4; ++i) {  // the upper one starts where the lower one ends
    EXPECT_EQ(drawn[1].corners[7 - i].y, drawn[0].corners[i].y);
    EXPECT_EQ(drawn[1].corners[7 - i].x, drawn[0].corners[i].x);
  }
}

TEST(AreaChart, PlacesMomentsByTheirTime) {
  const Path area = paths(draw(two_tags()))[0];
  const double second = area.corners[1].x - area.corners[0].x;
  EXPECT_NEAR(area.corners[2].x - area.corners[0].x, 2 * second, 0.02);
  EXPECT_NEAR(area.corners[3].x - area.corners[0].x, 4 * second, 0.02);
}

TEST(AreaChart, CarriesExactValues) {
  AreaChart chart = two_tags();
  chart.areas[0].values = {1, 1099511627777, 0, 3};
  chart.line->values[2] = std::nan("");
  const std::string svg = draw(chart);
  EXPECT_EQ(paths(svg)[0].name, "weights");
  EXPECT_EQ(paths(svg)[0].values, "1 1099511627777 0 3");
  EXPECT_EQ(paths(svg)[2].values, "150 350 - 500");
  EXPECT_THAT(svg, HasSubstr("<g data-times=\"0 1 2 4\">"));
  EXPECT_THAT(svg, HasSubstr("<line class=\"limit\" data-value=\"600\""));
}

TEST(AreaChart, DrawsTheLineTheLimitAndTheMomentAtTheirValues) {
  const std::string svg = draw(two_tags());
  const std::vector<Path> drawn = paths(svg);
  const double floor = drawn[0].corners[7].y;
  const double unit = (floor - drawn[0].corners[0].y) / 100;
  EXPECT_EQ(drawn[2].css_class, "line over");
  EXPECT_NEAR(drawn[2].corners[1].y, floor - 350 * unit, 0.02);
  EXPECT_NEAR(attribute(svg, "class=\"limit\"[^>]* y1=\"([0-9.]+)\""), floor - 600 * unit, 0.02);
  EXPECT_NEAR(attribute(svg, "class=\"moment\" x1=\"([0-9.]+)\""), drawn[0].corners[2].x, 0.02);
}

TEST(AreaChart, BreaksTheLineWhereThereIsNoValue) {
  AreaChart chart = two_tags();
  chart.line->values[1] = std::nan("");
  const std::string svg = draw(chart);
  std::smatch m;
  ASSERT_TRUE(std::regex_search(svg, m, std::regex("line over\" data-name=[^>]* d=\"([^\"]*)\"")));
  EXPECT_EQ(count_of(m[1], "M"), 2u);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(AreaChart, NamesAllInTheLegendAndWhatIsThereInTooltips) {
  const std::string svg = draw(two_tags());
  EXPECT_THAT(svg, HasSubstr("</svg>weights</li>"));
  EXPECT_THAT(svg, HasSubstr("</svg>cache</li>"));
  EXPECT_THAT(svg, HasSubstr("</svg>committed</li>"));
  EXPECT_THAT(svg,
              HasSubstr("<title>1.0 s · 300 B · cache: 100 B · weights: 200 B · committed: 350 B</title>"));
  EXPECT_THAT(svg, HasSubstr("<title>4.0 s · 50 B · cache: 50 B · committed: 500 B</title>"));
}

TEST(AreaChart, StaysSmallAndKeepsTheHighestMoments) {
  AreaChart chart{.title = "t", .unit = ChartUnit::kBytes};
  for (int tag = 0; tag < 10; ++tag) chart.areas.push_back({.name = "some_tag_" + std::to_string(tag)});
  for (int i = 0; i < 512; ++i) {
    chart.times.push_back(i);
    for (ChartSeries& area : chart.areas) area.values.push_back(123456789.0 * (i % 17));
  }
  EXPECT_LT(draw(chart).size(), 400000u);
  for (ChartSeries& area : chart.areas) area.values.resize(100000, 7);
  for (int i = 512; i < 100000; ++i) chart.times.push_back(i);
  chart.areas[3].values[77777] = 9e15;
  const std::string svg = draw(chart);
  EXPECT_LT(svg.size(), 700000u);
  EXPECT_THAT(paths(svg)[3].values, HasSubstr(" 9000000000000000 "));
  EXPECT_LE(count_of(svg, "class=\"zone\""), 256u);
}

TEST(AreaChart, DrawsALoneMomentFromEndToEnd) {
  AreaChart chart = two_tags();
  chart.times = {1};
  const Path area = paths(draw(chart))[0];
  ASSERT_EQ(area.corners.size(), 4u);
  EXPECT_GT(area.corners[1].x - area.corners[0].x, 500);
  EXPECT_EQ(area.corners[0].y, area.corners[1].y);
}

TEST(AreaChart, SurvivesNothingAndNonsense) {
  EXPECT_THAT(draw(AreaChart{}), HasSubstr("</svg>"));
  AreaChart chart = two_tags();
  chart.areas[0].values = {std::nan(""), -5, HUGE_VAL};  // and one is missing
  chart.line->values.clear();
  chart.times = {0, std::nan(""), HUGE_VAL, -1};
  const std::string svg = draw(chart);
  EXPECT_EQ(paths(svg)[0].values, "0 0 0 0");
  EXPECT_EQ(count_of(paths(svg)[2].values, "-"), 4u);
  for (const char* word : {"\"nan", " nan", "inf "}) {
    const std::string drawing =
        svg.substr(svg.find("class=\"area"), svg.find("class=\"limit") - svg.find("class=\"area"));
    EXPECT_THAT(drawing, Not(HasSubstr(word)));
  }
}

TEST(AreaChart, EscapesHostileNames) {
  AreaChart chart = two_tags();
  chart.title = chart.areas[0].name = chart.line->name = chart.reference->label = "\"><script>alert(1)\x1b";
  const std::string svg = draw(chart);
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, Not(HasSubstr("\x1b")));
  EXPECT_THAT(svg, HasSubstr("data-name=\"&quot;&gt;&lt;script&gt;alert(1)\\x1b\""));
}

TEST(AreaChart, WritesTimesInTheUnitOfTheWhole) {
  AreaChart chart = two_tags();
  const auto unit_at = [&chart](double end) {
    chart.times = {0, end};
    chart.end = end;
    std::smatch m;
    const std::string svg = draw(chart);
    const std::regex title(">((?:nano|micro|milli)?seconds|minutes|hours)</text>");
    return std::regex_search(svg, m, title) ? m[1].str() : std::string();
  };
  EXPECT_THAT(
      (std::vector<std::string>{unit_at(3e-7), unit_at(0.0004), unit_at(0.5), unit_at(90), unit_at(600),
                                unit_at(7199), unit_at(7200)}),
      ElementsAre("nanoseconds", "microseconds", "milliseconds", "seconds", "minutes", "minutes", "hours"));
}

}  // namespace
}  // namespace lobit
