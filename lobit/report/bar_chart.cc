// draw(BarChart): horizontal bars with a label on the left of each and its value at the end, or vertical bars
// over an axis of categories.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "lobit/report/svg.h"
#include "lobit/report/text.h"

namespace lobit {
namespace {

using detail::Axis;
using detail::PlotArea;
using detail::ValueRange;

constexpr double kVerticalPlotHeight = 240;
constexpr size_t kLongestLabel = 34;  // columns

bool stacked(const BarChart& chart) {
  return chart.arrangement == BarChart::Arrangement::kStacked;
}

// Stacked lengths only add up on a linear scale.
ChartScale scale_of(const BarChart& chart) {
  return stacked(chart) ? ChartScale::kLinear : chart.scale;
}

double value_at(const ChartSeries& series, size_t category) {
  return category < series.values.size() ? series.values[category] : std::nan("");
}

// One bar: from `from` to `to` on the value axis, in lane `lane` of its category.
struct Bar {
  size_t series;
  size_t lane;
  double from;
  double to;
  double value;
};

// The bars of one category. Stacked ones share a lane; negative values pile up on the other side of zero.
std::vector<Bar> bars_of(const BarChart& chart, size_t category, double base) {
  std::vector<Bar> bars;
  double above = 0;
  double below = 0;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const double value = value_at(chart.series[i], category);
    if (!ValueRange(scale_of(chart)).drawable(value)) continue;
    if (stacked(chart)) {
      double& end = value < 0 ? below : above;
      bars.push_back({.series = i, .lane = 0, .from = end, .to = end + value, .value = value});
      end += value;
    } else {
      bars.push_back({.series = i, .lane = i, .from = base, .to = value, .value = value});
    }
  }
  return bars;
}

Axis value_axis(const BarChart& chart) {
  ValueRange range(scale_of(chart));
  for (size_t category = 0; category < chart.categories.size(); ++category) {
    for (const Bar& bar : bars_of(chart, category, 0)) range.include(bar.to);
  }
  if (chart.reference) range.include(chart.reference->value);
  return {range, scale_of(chart), chart.unit, true};
}

std::string tooltip(const BarChart& chart, size_t category, const Bar& bar) {
  std::string where = chart.categories[category];
  if (!chart.category_title.empty()) where = fmt::format("{} {}", chart.category_title, where);
  const std::string value = format_chart_value(chart.unit, bar.value);
  if (chart.series.size() < 2) return fmt::format("{}: {}", where, value);
  return fmt::format("{}, {}: {}", where, chart.series[bar.series].name, value);
}

// What is written at the end of a horizontal bar: a lone value, or the sum of a stack.
void label_end(std::string& out, const BarChart& chart, const PlotArea& plot, const Axis& axis,
               const Bar& bar, double y) {
  const double end = std::max(bar.from, bar.to);
  const double shown = stacked(chart) ? bar.to : bar.value;
  out += detail::svg_text(plot.left + axis.place(end) * plot.width + 6, y, "start", "value",
                          format_chart_value(chart.unit, shown));
}

std::string draw_horizontal(const BarChart& chart) {
  const size_t lanes = stacked(chart) ? 1 : std::max<size_t>(chart.series.size(), 1);
  const double thickness = lanes == 1 ? 18 : 13;
  const double slot = static_cast<double>(lanes) * thickness + 12;
  std::vector<std::string> labels;
  double gutter = 0;
  for (const std::string& category : chart.categories) {
    labels.push_back(shorten_middle(printable(category), kLongestLabel));
    gutter = std::max(gutter, detail::label_width(labels.back()));
  }
  const double left = gutter + 14;
  const PlotArea plot{left, chart.reference ? 22.0 : 6.0, detail::kDrawingWidth - left - 78,
                      slot * static_cast<double>(labels.size())};
  const Axis axis = value_axis(chart);
  std::string out = detail::draw_rightward_axis(plot, axis, chart.unit);
  for (size_t category = 0; category < labels.size(); ++category) {
    const double top = plot.top + slot * static_cast<double>(category) + 6;
    out += detail::svg_text(left - 8, top + (slot - 12) / 2 + 4, "end", "label", labels[category]);
    const std::vector<Bar> bars = bars_of(chart, category, axis.base());
    for (const Bar& bar : bars) {
      const double y = top + thickness * static_cast<double>(bar.lane);
      const double begin = axis.place(std::min(bar.from, bar.to)) * plot.width;
      const double end = axis.place(std::max(bar.from, bar.to)) * plot.width;
      out += detail::svg_bar(plot.left + begin, y, end - begin, thickness - 2,
                             detail::series_class(chart.series, bar.series), tooltip(chart, category, bar));
      if (!stacked(chart) || &bar == &bars.back())
        label_end(out, chart, plot, axis, bar, y + thickness / 2 + 3);
    }
  }
  if (chart.reference) {
    const double x = plot.left + axis.place(chart.reference->value) * plot.width;
    out += detail::svg_line(x, plot.top - 4, x, plot.bottom(), "limit");
    out += detail::svg_text(x, plot.top - 9, "middle", "limit-label", chart.reference->label);
  }
  return detail::figure(chart.title, chart.note, detail::legend_items(chart.series), plot.bottom() + 26, out);
}

// Labels under the axis: every n-th, so that they do not run into each other.
std::string category_labels(const BarChart& chart, const PlotArea& plot, double slot) {
  double widest = 0;
  for (const std::string& category : chart.categories) {
    widest = std::max(widest, detail::label_width(shorten_middle(printable(category), kLongestLabel)));
  }
  const auto every = static_cast<size_t>(std::max(1.0, std::ceil((widest + 8) / slot)));
  std::string out;
  for (size_t i = 0; i < chart.categories.size(); i += every) {
    out += detail::svg_text(plot.left + slot * (static_cast<double>(i) + 0.5), plot.bottom() + 18, "middle",
                            "tick", shorten_middle(printable(chart.categories[i]), kLongestLabel));
  }
  if (!chart.category_title.empty()) {
    out += detail::svg_text(plot.left + plot.width / 2, plot.bottom() + 38, "middle", "tick",
                            chart.category_title);
  }
  return out;
}

std::string draw_vertical(const BarChart& chart) {
  const Axis axis = value_axis(chart);
  double gutter = 0;
  for (const double tick : axis.ticks()) {
    gutter = std::max(gutter, detail::label_width(format_chart_value(chart.unit, tick)));
  }
  const double left = gutter + 14;
  const PlotArea plot{left, 20, detail::kDrawingWidth - left - 8, kVerticalPlotHeight};
  const size_t lanes = stacked(chart) ? 1 : std::max<size_t>(chart.series.size(), 1);
  const double slot = plot.width / std::max<double>(static_cast<double>(chart.categories.size()), 1);
  const double thickness = std::min(slot * 0.8 / static_cast<double>(lanes), 36.0);
  const double margin = (slot - thickness * static_cast<double>(lanes)) / 2;
  std::string out = detail::draw_upward_axis(plot, axis, chart.unit);
  for (size_t category = 0; category < chart.categories.size(); ++category) {
    for (const Bar& bar : bars_of(chart, category, axis.base())) {
      const double x = plot.left + slot * static_cast<double>(category) + margin +
                       thickness * static_cast<double>(bar.lane);
      const double low = axis.place(std::min(bar.from, bar.to)) * plot.height;
      const double high = axis.place(std::max(bar.from, bar.to)) * plot.height;
      out += detail::svg_bar(x, plot.bottom() - high, thickness * 0.92, high - low,
                             detail::series_class(chart.series, bar.series), tooltip(chart, category, bar));
    }
  }
  out += category_labels(chart, plot, slot);
  if (chart.reference) {
    const double y = plot.bottom() - axis.place(chart.reference->value) * plot.height;
    out += detail::svg_line(plot.left, y, plot.right(), y, "limit");
    out += detail::svg_text(plot.right(), y - 6, "end", "limit-label", chart.reference->label);
  }
  return detail::figure(chart.title, chart.note, detail::legend_items(chart.series),
                        plot.bottom() + (chart.category_title.empty() ? 26 : 46), out);
}

}  // namespace

std::string draw(const BarChart& chart) {
  return chart.direction == BarChart::Direction::kHorizontal ? draw_horizontal(chart) : draw_vertical(chart);
}

}  // namespace lobit
