// draw(AreaChart). The areas and the line carry their exact values (data-values, at the data-times of the
// group around them), so that a program can compare a page with its data.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "lobit/report/escape.h"
#include "lobit/report/number.h"
#include "lobit/report/svg.h"
#include "lobit/report/time_axis.h"

namespace lobit {
namespace {

using detail::Axis;
using detail::PlotArea;
using detail::svg_number;
using detail::TimeAxis;
using detail::ValueRange;

constexpr double kPlotHeight = 300;
constexpr size_t kMostPoints = 1024;   // of each area; more would lie within one unit of the drawing
constexpr size_t kMostTooltips = 256;  // zones along the time that answer to the pointer

double amount(const ChartSeries& series, size_t i) {
  const double value = i < series.values.size() ? series.values[i] : 0;
  return std::isfinite(value) && value > 0 ? value : 0;
}

double line_value(const ChartSeries& series, size_t i) {
  return i < series.values.size() && std::isfinite(series.values[i]) ? series.values[i] : std::nan("");
}

double sum_at(const AreaChart& chart, size_t i) {
  double sum = 0;
  for (const ChartSeries& series : chart.areas) sum += amount(series, i);
  return sum;
}

// At most `most` of `count` indices: of each group of neighbours the one with the greatest sum.
std::vector<size_t> thinned(const AreaChart& chart, size_t count, size_t most) {
  std::vector<size_t> kept;
  const size_t groups = std::min(count, most);
  for (size_t group = 0; group < groups; ++group) {
    size_t best = group * count / groups;
    for (size_t i = best + 1; i < (group + 1) * count / groups; ++i) {
      if (sum_at(chart, i) > sum_at(chart, best)) best = i;
    }
    kept.push_back(best);
  }
  return kept;
}

struct Frame {
  PlotArea plot;
  Axis axis;
  TimeAxis time;
  std::vector<size_t> points;  // indices that are drawn
  std::vector<double> xs;      // where

  double x(double seconds) const { return plot.left + time.place(seconds) * plot.width; }
  double y(double value) const { return plot.bottom() - axis.place(value) * plot.height; }
};

Axis axis_of(const AreaChart& chart, const std::vector<size_t>& points) {
  ValueRange range(ChartScale::kLinear);
  for (const size_t i : points) {
    range.include(sum_at(chart, i));
    if (chart.line) range.include(line_value(*chart.line, i));
  }
  if (chart.reference) range.include(chart.reference->value);
  return {range, ChartScale::kLinear, chart.unit, true};
}

Frame frame_of(const AreaChart& chart) {
  std::vector<size_t> points = thinned(chart, chart.times.size(), kMostPoints);
  Axis axis = axis_of(chart, points);
  double gutter = 0;
  for (const double tick : axis.ticks()) {
    gutter = std::max(gutter, detail::label_width(format_chart_value(chart.unit, tick)));
  }
  const double left = gutter + 14;
  const double last = chart.times.empty() ? 0 : chart.times.back();
  Frame frame{.plot = {left, 28, detail::kDrawingWidth - left - 16, kPlotHeight},
              .axis = std::move(axis),
              .time = TimeAxis(std::max(chart.end, last)),
              .points = std::move(points),
              .xs = {}};
  for (const size_t i : frame.points) frame.xs.push_back(frame.x(chart.times[i]));
  if (frame.points.size() == 1) {  // a moment has no width: it is drawn from end to end
    frame.points.push_back(frame.points.front());
    frame.xs = {frame.plot.left, frame.plot.right()};
  }
  return frame;
}

std::string corner(char command, const Frame& frame, size_t i, double value) {
  return fmt::format("{}{} {}", command, svg_number(frame.xs[i]), svg_number(frame.y(value)));
}

// To the right along the tops, back along the tops of the areas below.
std::string draw_areas(const AreaChart& chart, const Frame& frame) {
  std::string out;
  const size_t count = frame.points.size();
  std::vector<double> below(count, 0);
  for (size_t area = 0; area < chart.areas.size(); ++area) {
    std::vector<double> top = below;
    std::string values;
    std::string path;
    for (size_t i = 0; i < count; ++i) {
      const double value = amount(chart.areas[area], frame.points[i]);
      top[i] += value;
      values += fmt::format("{}{}", i == 0 ? "" : " ", value);
      path += corner(i == 0 ? 'M' : 'L', frame, i, top[i]);
    }
    for (size_t i = count; i-- > 0;) path += corner('L', frame, i, below[i]);
    const std::string name = detail::escape_html(chart.areas[area].name);
    out += fmt::format(
        "<path class=\"area {}\" data-name=\"{}\" data-values=\"{}\" d=\"{}\"><title>{}</title></path>\n",
        detail::series_class(chart.areas, area), name, values, path + (path.empty() ? "" : "Z"), name);
    below = std::move(top);
  }
  return out;
}

// Broken where there is no value, which data-values has a "-" for.
std::string draw_line(const ChartSeries& line, const Frame& frame) {
  std::string path;
  std::string values;
  bool pen_is_down = false;
  for (size_t i = 0; i < frame.points.size(); ++i) {
    const double value = line_value(line, frame.points[i]);
    const bool drawn = !std::isnan(value);
    values += (i == 0 ? "" : " ") + (drawn ? fmt::format("{}", value) : "-");
    if (drawn) path += corner(pen_is_down ? 'L' : 'M', frame, i, value);
    pen_is_down = drawn;
  }
  return fmt::format("<path class=\"line over\" data-name=\"{}\" data-values=\"{}\" d=\"{}\"/>\n",
                     detail::escape_html(line.name), values, path);
}

std::string tooltip(const AreaChart& chart, size_t i) {
  std::string text = fmt::format("{} · {}", format_nanoseconds(chart.times[i] * 1e9),
                                 format_chart_value(chart.unit, sum_at(chart, i)));
  for (size_t area = chart.areas.size(); chart.areas.size() > 1 && area-- > 0;) {
    const double value = amount(chart.areas[area], i);
    if (value > 0)
      text += fmt::format(" · {}: {}", chart.areas[area].name, format_chart_value(chart.unit, value));
  }
  if (chart.line && !std::isnan(line_value(*chart.line, i))) {
    text += fmt::format(" · {}: {}", chart.line->name,
                        format_chart_value(chart.unit, line_value(*chart.line, i)));
  }
  return text;
}

// Invisible zones that reach half way to their neighbours.
std::string draw_tooltips(const AreaChart& chart, const Frame& frame, size_t count) {
  const std::vector<size_t> shown = thinned(chart, count, kMostTooltips);
  std::string out;
  double begin = frame.plot.left;
  for (size_t i = 0; i < shown.size(); ++i) {
    const double x = frame.x(chart.times[shown[i]]);
    const double end =
        i + 1 == shown.size() ? frame.plot.right() : (x + frame.x(chart.times[shown[i + 1]])) / 2;
    out += fmt::format(
        "<g class=\"zone\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>{}<title>{}</title></g>\n",
        svg_number(begin), svg_number(frame.plot.top), svg_number(std::max(end - begin, 0.0)),
        svg_number(frame.plot.height), detail::svg_line(x, frame.plot.top, x, frame.plot.bottom(), "cursor"),
        detail::escape_html(tooltip(chart, shown[i])));
    begin = end;
  }
  return out;
}

// The label of the moment stands above the plot, that of the reference at the end that is farther from it.
std::string draw_marks(const AreaChart& chart, const Frame& frame) {
  std::string out;
  bool moment_is_right = false;
  if (chart.moment) {
    const double x = frame.x(chart.moment->value);
    const double half = detail::label_width(chart.moment->label) / 2;
    const double label = std::clamp(x, half, detail::kDrawingWidth - half);
    moment_is_right = x > frame.plot.left + frame.plot.width / 2;
    out += detail::svg_line(x, frame.plot.top - 4, x, frame.plot.bottom(), "moment");
    out += detail::svg_text(label, frame.plot.top - 10, "middle", "label", chart.moment->label);
  }
  if (chart.reference) {
    const std::string y = svg_number(frame.y(chart.reference->value));
    out += fmt::format("<line class=\"limit\" data-value=\"{}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>\n",
                       chart.reference->value, svg_number(frame.plot.left), y, svg_number(frame.plot.right()),
                       y);
    out += detail::svg_text(moment_is_right ? frame.plot.left + 6 : frame.plot.right(),
                            frame.y(chart.reference->value) - 6, moment_is_right ? "start" : "end",
                            "limit-label", chart.reference->label);
  }
  return out;
}

std::string legend_of(const AreaChart& chart) {
  std::string out;
  const bool has_line = chart.line.has_value();
  for (size_t i = 0; (has_line || chart.areas.size() > 1) && i < chart.areas.size(); ++i) {
    out += detail::legend_item(chart.areas, i);
  }
  if (has_line) {
    out += detail::legend_item("<path class=\"line over\" d=\"M0 5H10\"/>", chart.line->name);
  }
  return out;
}

}  // namespace

std::string draw(const AreaChart& chart) {
  const Frame frame = frame_of(chart);
  std::string times;
  for (const size_t i : frame.points) times += fmt::format("{}{}", times.empty() ? "" : " ", chart.times[i]);
  std::string out = detail::draw_upward_axis(frame.plot, frame.axis, chart.unit);
  out += fmt::format("<g data-times=\"{}\">\n{}", times, draw_areas(chart, frame));
  if (chart.line) out += draw_line(*chart.line, frame);
  out += "</g>\n" + draw_marks(chart, frame) + frame.time.draw(frame.plot);
  out += draw_tooltips(chart, frame, chart.times.size());
  return detail::figure(chart.title, chart.note, legend_of(chart),
                        frame.plot.bottom() + detail::kTimeAxisHeight, out);
}

}  // namespace lobit
