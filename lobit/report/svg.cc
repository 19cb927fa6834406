#include "lobit/report/svg.h"

#include <algorithm>

#include <fmt/format.h>

#include "lobit/report/escape.h"
#include "lobit/report/number.h"
#include "lobit/report/text.h"

namespace lobit::detail {
namespace {

constexpr size_t kColours = 10;

}  // namespace

std::string svg_number(double value) {
  std::string text = format_fixed(value, 2);
  text.resize(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string series_class(const std::vector<ChartSeries>& series, size_t index) {
  if (series[index].muted) return "muted";
  size_t colour = 0;
  for (size_t i = 0; i < index; ++i) colour += series[i].muted ? 0 : 1;
  return fmt::format("s{}", colour % kColours);
}

double label_width(std::string_view text) {
  return static_cast<double>(display_width(printable(text))) * kCharWidth;
}

std::string svg_text(double x, double y, std::string_view anchor, std::string_view css_class,
                     std::string_view text) {
  return fmt::format("<text class=\"{}\" x=\"{}\" y=\"{}\" text-anchor=\"{}\">{}</text>\n", css_class,
                     svg_number(x), svg_number(y), anchor, escape_html(text));
}

std::string svg_line(double x1, double y1, double x2, double y2, std::string_view css_class) {
  return fmt::format("<line class=\"{}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>\n", css_class,
                     svg_number(x1), svg_number(y1), svg_number(x2), svg_number(y2));
}

std::string svg_bar(double x, double y, double width, double height, std::string_view css_class,
                    std::string_view tooltip) {
  return fmt::format(
      "<rect class=\"bar {}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}</title></rect>\n",
      css_class, svg_number(x), svg_number(y), svg_number(width), svg_number(height), escape_html(tooltip));
}

std::string draw_upward_axis(const PlotArea& plot, const Axis& axis, ChartUnit unit) {
  std::string out;
  for (const double tick : axis.ticks()) {
    const double y = plot.bottom() - axis.place(tick) * plot.height;
    out += svg_line(plot.left, y, plot.right(), y, tick == axis.base() ? "zero" : "grid");
    out += svg_text(plot.left - 8, y + 4, "end", "tick", format_chart_value(unit, tick));
  }
  return out;
}

std::string draw_rightward_axis(const PlotArea& plot, const Axis& axis, ChartUnit unit) {
  std::string out;
  for (const double tick : axis.ticks()) {
    const double x = plot.left + axis.place(tick) * plot.width;
    out += svg_line(x, plot.top, x, plot.bottom(), tick == axis.base() ? "zero" : "grid");
    out += svg_text(x, plot.bottom() + 18, "middle", "tick", format_chart_value(unit, tick));
  }
  return out;
}

std::string legend_item(std::string_view shape, std::string_view name) {
  return fmt::format("<li><svg class=\"swatch\" viewBox=\"0 0 10 10\" aria-hidden=\"true\">{}</svg>{}</li>",
                     shape, escape_html(name));
}

std::string legend_item(const std::vector<ChartSeries>& series, size_t index) {
  return legend_item(fmt::format("<rect class=\"bar {}\" width=\"10\" height=\"10\" rx=\"2\"/>",
                                 series_class(series, index)),
                     series[index].name);
}

std::string legend_items(const std::vector<ChartSeries>& series) {
  std::string out;
  for (size_t i = 0; series.size() > 1 && i < series.size(); ++i) out += legend_item(series, i);
  return out;
}

std::string figure(std::string_view title, std::string_view note, std::string_view legend, double height,
                   std::string_view marks) {
  const std::string heading = escape_html(title);
  std::string out = fmt::format("<figure class=\"chart\">\n<figcaption><strong>{}</strong>", heading);
  if (!note.empty()) out += fmt::format("<span>{}</span>", escape_html(note));
  out += "</figcaption>\n";
  if (!legend.empty()) out += fmt::format("<ul class=\"legend\">{}</ul>\n", legend);
  out += fmt::format("<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{}\">\n", heading);
  const std::string label = note.empty() ? heading : fmt::format("{}: {}", heading, escape_html(note));
  out += fmt::format("<svg class=\"plot\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
                     svg_number(kDrawingWidth), svg_number(height), label, marks);
  return out + "</div>\n</figure>\n";
}

}  // namespace lobit::detail
