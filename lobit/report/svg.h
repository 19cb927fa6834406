// Drawing primitives that the charts share. Internal to report.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lobit/report/chart.h"
#include "lobit/report/chart_axis.h"

namespace lobit::detail {

// The plot inside a drawing, in SVG units: x to the right, y down.
struct PlotArea {
  double left;
  double top;
  double width;
  double height;
  double right() const { return left + width; }
  double bottom() const { return top + height; }
};

inline constexpr double kDrawingWidth = 960;
inline constexpr double kCharWidth = 6.6;  // of a label at the charts' 12 units, a little generous

// 12.50 -> "12.5": at most two digits after the point.
std::string svg_number(double value);
// The class that colours series `index`.
std::string series_class(const std::vector<ChartSeries>& series, size_t index);
double label_width(std::string_view text);

// anchor: "start", "middle" or "end" of the text lies at x.
std::string svg_text(double x, double y, std::string_view anchor, std::string_view css_class,
                     std::string_view text);
std::string svg_line(double x1, double y1, double x2, double y2, std::string_view css_class);
std::string svg_bar(double x, double y, double width, double height, std::string_view css_class,
                    std::string_view tooltip);

// Grid lines with labels: across the plot for a value axis that goes up, along it for one that goes right.
std::string draw_upward_axis(const PlotArea& plot, const Axis& axis, ChartUnit unit);
std::string draw_rightward_axis(const PlotArea& plot, const Axis& axis, ChartUnit unit);

// A swatch of the class and what it stands for; `shape` is the swatch's inside, in 10 units each way.
std::string legend_item(std::string_view shape, std::string_view name);
std::string legend_item(const std::vector<ChartSeries>& series, size_t index);
// The items of all series; of a lone one, which the title names already, nothing.
std::string legend_items(const std::vector<ChartSeries>& series);

// The caption, legend and frame around `marks`; `height` is that of the drawing.
std::string figure(std::string_view title, std::string_view note, std::string_view legend, double height,
                   std::string_view marks);

}  // namespace lobit::detail
