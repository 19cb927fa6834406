// draw(LineChart), and how the charts write values.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/report/escape.h"
#include "lobit/report/number.h"
#include "lobit/report/svg.h"

namespace lobit {
namespace {

using detail::Axis;
using detail::PlotArea;
using detail::ValueRange;

constexpr double kPlotHeight = 260;
constexpr size_t kMostDots = 80;       // with more points a line is clearer without them
constexpr size_t kMostTooltips = 400;  // zones along the index that answer to the pointer

struct Frame {
  PlotArea plot;
  Axis axis;
  size_t count;  // of indices

  double x(size_t i) const {
    return plot.left +
           (count < 2 ? 0.5 : static_cast<double>(i) / static_cast<double>(count - 1)) * plot.width;
  }
  double y(double value) const { return plot.bottom() - axis.place(value) * plot.height; }
};

size_t longest(const LineChart& chart) {
  size_t count = 0;
  for (const ChartSeries& series : chart.series) count = std::max(count, series.values.size());
  return count;
}

Frame frame_of(const LineChart& chart) {
  ValueRange range(chart.scale);
  for (const ChartSeries& series : chart.series) {
    for (const double value : series.values) range.include(value);
  }
  if (chart.reference) range.include(chart.reference->value);
  const bool counts_from_zero = chart.unit != ChartUnit::kDecibels;
  Axis axis(range, chart.scale, chart.unit, counts_from_zero);
  double gutter = 0;
  for (const double tick : axis.ticks()) {
    gutter = std::max(gutter, detail::label_width(format_chart_value(chart.unit, tick)));
  }
  const double left = gutter + 14;
  return {.plot = {left, 20, detail::kDrawingWidth - left - 16, kPlotHeight},
          .axis = std::move(axis),
          .count = longest(chart)};
}

// The line, broken where there is no value, and a dot for each value where there is room for dots.
std::string draw_series(const LineChart& chart, size_t index, const Frame& frame) {
  const std::vector<double>& values = chart.series[index].values;
  const std::string css_class = detail::series_class(chart.series, index);
  const ValueRange range(chart.scale);
  std::string path;
  std::string dots;
  bool pen_is_down = false;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!range.drawable(values[i])) {
      pen_is_down = false;
      continue;
    }
    const std::string x = detail::svg_number(frame.x(i));
    const std::string y = detail::svg_number(frame.y(values[i]));
    path += fmt::format("{}{} {}", pen_is_down ? "L" : "M", x, y);
    const bool alone = !pen_is_down && (i + 1 == values.size() || !range.drawable(values[i + 1]));
    pen_is_down = true;
    if (frame.count <= kMostDots || alone) {
      dots += fmt::format("<circle class=\"dot {}\" cx=\"{}\" cy=\"{}\" r=\"3\"/>\n", css_class, x, y);
    }
  }
  return fmt::format("<path class=\"line {}\" d=\"{}\"/>\n{}", css_class, path, dots);
}

// Invisible zones, each with the values at its index; the one under the pointer shows a line.
std::string draw_tooltips(const LineChart& chart, const Frame& frame) {
  const size_t stride = std::max<size_t>((frame.count + kMostTooltips - 1) / kMostTooltips, 1);
  const double half = frame.plot.width / static_cast<double>(std::max<size_t>(frame.count, 2) - 1) *
                      static_cast<double>(stride) / 2;
  std::string out;
  for (size_t i = 0; i < frame.count; i += stride) {
    std::string text = fmt::format("{} {}", chart.index_title, chart.first_index + static_cast<int64_t>(i));
    for (const ChartSeries& series : chart.series) {
      if (i >= series.values.size() || std::isnan(series.values[i])) continue;
      text += fmt::format(" · {}: {}", series.name, format_chart_value(chart.unit, series.values[i]));
    }
    const double begin = std::max(frame.x(i) - half, frame.plot.left);
    const double end = std::min(frame.x(i) + half, frame.plot.right());
    out += fmt::format(
        "<g class=\"zone\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>{}<title>{}</title></g>\n",
        detail::svg_number(begin), detail::svg_number(frame.plot.top), detail::svg_number(end - begin),
        detail::svg_number(frame.plot.height),
        detail::svg_line(frame.x(i), frame.plot.top, frame.x(i), frame.plot.bottom(), "cursor"),
        detail::escape_html(text));
  }
  return out;
}

std::string draw_index(const LineChart& chart, const Frame& frame) {
  const std::string last = fmt::format("{}", chart.first_index + static_cast<int64_t>(frame.count));
  const double room = std::max(detail::label_width(last) + 14, 32.0);
  const auto most = static_cast<size_t>(frame.plot.width / room);
  size_t step = 1;
  for (size_t factor = 0; frame.count / step > most; ++factor) step = step * (factor % 3 == 1 ? 5 : 4) / 2;
  std::string out;
  for (size_t i = 0; i < frame.count; i += step) {
    out += detail::svg_text(frame.x(i), frame.plot.bottom() + 18, "middle", "tick",
                            fmt::format("{}", chart.first_index + static_cast<int64_t>(i)));
  }
  return out + detail::svg_text(frame.plot.left + frame.plot.width / 2, frame.plot.bottom() + 38, "middle",
                                "tick", chart.index_title);
}

}  // namespace

std::string format_chart_value(ChartUnit unit, double value) {
  switch (unit) {
    case ChartUnit::kBytes:
      if (value < 0) return "-" + format_chart_value(unit, -value);
      return value < 18446744073709551616.0 ? format_bytes(static_cast<uint64_t>(value))
                                            : format_short(value);
    case ChartUnit::kDecibels:
      return format_fixed(value, 1) + " dB";
    case ChartUnit::kPercent:
      return format_fixed(value, 1) + " %";
    case ChartUnit::kSeconds:
      return format_duration(value);
    case ChartUnit::kNumber:
      break;
  }
  return std::abs(value) < 1e15 && value == std::trunc(value) && value >= 0
             ? format_count(static_cast<uint64_t>(value))
             : format_short(value);
}

std::string draw(const LineChart& chart) {
  const Frame frame = frame_of(chart);
  std::string out = detail::draw_upward_axis(frame.plot, frame.axis, chart.unit);
  for (size_t i = 0; i < chart.series.size(); ++i) out += draw_series(chart, i, frame);
  if (chart.reference) {
    const double y = frame.y(chart.reference->value);
    out += detail::svg_line(frame.plot.left, y, frame.plot.right(), y, "limit");
    out += detail::svg_text(frame.plot.right(), y - 6, "end", "limit-label", chart.reference->label);
  }
  out += draw_index(chart, frame) + draw_tooltips(chart, frame);
  return detail::figure(chart.title, chart.note, detail::legend_items(chart.series), frame.plot.bottom() + 46,
                        out);
}

}  // namespace lobit
