// draw(ArenaChart). Squares that look the same and touch become one rectangle; its x, y, width and height
// count columns and rows, so that a program can compare a page with its data.
#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "lobit/report/escape.h"
#include "lobit/report/number.h"
#include "lobit/report/svg.h"
#include "lobit/report/time_axis.h"

namespace lobit {
namespace {

using detail::PlotArea;
using detail::svg_number;

constexpr size_t kMostRectangles = 3000;
constexpr uint32_t kMostRows = 256;
constexpr uint32_t kMostColumns = 512;
constexpr double kPlotHeight = 360;
constexpr double kGapHeight = 18;
constexpr double kTickRoom = 34;  // between two labels of offsets
constexpr size_t kMostGaps = 12;  // that the drawing shows: the greatest

struct Square {
  uint8_t share = 0;
  uint8_t holder = 0;
};

struct Grid {
  uint32_t rows = 0;
  uint32_t columns = 0;
  double row_bytes = 0;
  double column_seconds = 0;
  std::vector<Square> squares = {};  // row after row
  std::vector<ArenaChart::Gap> gaps = {};

  const Square& at(uint32_t row, uint32_t column) const {
    return squares[static_cast<size_t>(row) * columns + column];
  }
  // Of the start of a row, from the start of the first.
  double offset(uint32_t row) const {
    double bytes = row * row_bytes;
    for (const ArenaChart::Gap& gap : gaps) bytes += gap.row <= row ? static_cast<double>(gap.bytes) : 0.0;
    return bytes;
  }
};

struct Rectangle {
  uint32_t row;
  uint32_t column;
  uint32_t rows;
  uint32_t columns;
  uint8_t holder;
  double share;  // of 255, over its squares
};

// Shares as the drawing shows them: 0 is nothing, 5 is nearly all.
constexpr uint32_t kLevels = 5;
uint32_t level_of(uint8_t share) {
  return (static_cast<uint32_t>(share) * kLevels + 254) / 255;
}

// Without rows when squares are missing.
Grid grid_of(const ArenaChart& chart) {
  Grid grid{.rows = chart.rows,
            .columns = chart.columns,
            .row_bytes = static_cast<double>(chart.row_bytes),
            .column_seconds = chart.column_seconds,
            .gaps = chart.gaps};
  const uint64_t count = static_cast<uint64_t>(grid.rows) * grid.columns;
  const bool complete = count > 0 && std::min(chart.shares.size(), chart.holder.size()) >= count;
  if (!complete) grid.rows = grid.columns = 0;
  for (size_t i = 0; i < static_cast<size_t>(grid.rows) * grid.columns; ++i) {
    grid.squares.push_back({chart.shares[i], chart.holder[i]});
  }
  return grid;
}

bool same(const Square& a, const Square& b) {
  return level_of(a.share) == level_of(b.share) && a.holder == b.holder;
}

// From the square at (row, column) to the right and then up, over squares that look the same and are not
// `taken` yet; takes them.
Rectangle grow(const Grid& grid, uint32_t row, uint32_t column, std::vector<bool>& taken) {
  const Square& first = grid.at(row, column);
  const auto index = [&grid](uint32_t r, uint32_t c) { return static_cast<size_t>(r) * grid.columns + c; };
  const auto fits = [&](uint32_t r, uint32_t c) { return !taken[index(r, c)] && same(grid.at(r, c), first); };
  const auto ends_segment = [&grid](uint32_t r) {
    return std::ranges::any_of(grid.gaps, [r](const ArenaChart::Gap& gap) { return gap.row == r; });
  };
  uint32_t right = column + 1;
  while (right < grid.columns && fits(row, right)) ++right;
  uint32_t top = row + 1;
  const auto row_fits = [&](uint32_t r) {
    for (uint32_t c = column; c < right; ++c) {
      if (!fits(r, c)) return false;
    }
    return true;
  };
  while (top < grid.rows && !ends_segment(top) && row_fits(top)) ++top;
  double sum = 0;
  for (uint32_t r = row; r < top; ++r) {
    for (uint32_t c = column; c < right; ++c) {
      taken[index(r, c)] = true;
      sum += grid.at(r, c).share;
    }
  }
  const double squares = static_cast<double>(top - row) * static_cast<double>(right - column);
  return {row, column, top - row, right - column, first.holder, sum / squares};
}

// More than `kMostRectangles` of them come back as soon as there are too many.
std::vector<Rectangle> rectangles_of(const Grid& grid) {
  std::vector<Rectangle> out;
  std::vector<bool> taken(grid.squares.size());
  for (uint32_t row = 0; row < grid.rows; ++row) {
    for (uint32_t column = 0; column < grid.columns; ++column) {
      const bool drawn = grid.at(row, column).share > 0;
      if (!drawn || taken[static_cast<size_t>(row) * grid.columns + column]) continue;
      out.push_back(grow(grid, row, column, taken));
      if (out.size() > kMostRectangles) return out;
    }
  }
  return out;
}

// How many rows and columns become one.
struct Step {
  uint32_t rows;
  uint32_t columns;
};

// The mean of the squares from (row, column) on that become one, with the holder of the fullest.
Square merged(const Grid& grid, uint32_t row, uint32_t column, Step step) {
  uint32_t sum = 0;
  uint32_t count = 0;
  Square fullest;
  for (uint32_t r = row; r < std::min(row + step.rows, grid.rows); ++r) {
    for (uint32_t c = column; c < std::min(column + step.columns, grid.columns); ++c) {
      sum += grid.at(r, c).share;
      ++count;
      if (grid.at(r, c).share > fullest.share) fullest = grid.at(r, c);
    }
  }
  return {static_cast<uint8_t>((sum + count - 1) / count), fullest.holder};
}

Grid coarser(const Grid& grid, Step step) {
  Grid out{.rows = (grid.rows - 1) / step.rows + 1,
           .columns = (grid.columns - 1) / step.columns + 1,
           .row_bytes = grid.row_bytes * step.rows,
           .column_seconds = grid.column_seconds * step.columns};
  for (uint32_t row = 0; row < grid.rows; row += step.rows) {
    for (uint32_t column = 0; column < grid.columns; column += step.columns) {
      out.squares.push_back(merged(grid, row, column, step));
    }
  }
  for (const ArenaChart::Gap& gap : grid.gaps) {
    out.gaps.push_back({gap.row / step.rows + (gap.row % step.rows > 0 ? 1 : 0), gap.bytes});
  }
  return out;
}

// Rows that are drawn without a gap between them.
struct Segment {
  uint32_t first;
  uint32_t end;
  double gap;     // bytes left out below it
  double bottom;  // of row `first`, in the drawing
};

struct Layout {
  PlotArea plot;
  double square_width;
  double square_height;
  std::vector<Segment> segments;
};

std::vector<Segment> segments_of(const Grid& grid) {
  std::vector<ArenaChart::Gap> shown = grid.gaps;
  std::ranges::sort(shown, [](const auto& a, const auto& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.row < b.row;
  });
  shown.resize(std::min(shown.size(), kMostGaps));
  std::ranges::sort(shown, [](const auto& a, const auto& b) { return a.row < b.row; });
  std::vector<Segment> out{{0, grid.rows, 0, 0}};
  for (const ArenaChart::Gap& gap : shown) {
    if (gap.row <= out.back().first || gap.row >= grid.rows) continue;
    out.back().end = gap.row;
    out.push_back({gap.row, grid.rows, static_cast<double>(gap.bytes), 0});
  }
  return out;
}

std::string offset_label(double bytes) {
  return format_chart_value(ChartUnit::kBytes, bytes);
}

Layout layout_of(const Grid& grid) {
  std::vector<Segment> segments = segments_of(grid);
  const double left = std::max(detail::label_width(offset_label(grid.offset(grid.rows))), 60.0) + 14;
  const double square_height = std::clamp(kPlotHeight / std::max<double>(grid.rows, 1), 1.0, 24.0);
  const double gaps = static_cast<double>(segments.size() - 1) * kGapHeight;
  const PlotArea plot{left, 10, detail::kDrawingWidth - left - 16, grid.rows * square_height + gaps};
  double bottom = plot.bottom();
  for (Segment& segment : segments) {
    if (segment.first > 0) bottom -= kGapHeight;
    segment.bottom = bottom;
    bottom -= (segment.end - segment.first) * square_height;
  }
  return {plot, plot.width / std::max<double>(grid.columns, 1), square_height, std::move(segments)};
}

std::string draw_rectangle(const ArenaChart& chart, const Grid& grid, const Rectangle& rectangle) {
  const double offset = grid.offset(rectangle.row);
  const double begin = rectangle.column * grid.column_seconds;
  const double end = (rectangle.column + rectangle.columns) * grid.column_seconds;
  const bool known = rectangle.holder < chart.holders.size();
  const std::string text =
      fmt::format("{} · {} held · offset {} to {} · {} to {}",
                  known ? chart.holders[rectangle.holder].name : "?", format_percent(rectangle.share, 255),
                  offset_label(offset), offset_label(offset + rectangle.rows * grid.row_bytes),
                  format_nanoseconds(begin * 1e9), format_nanoseconds(end * 1e9));
  const auto level = level_of(static_cast<uint8_t>(std::ceil(rectangle.share)));
  return fmt::format(
      "<rect class=\"bar {} o{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}</title></rect>\n",
      known ? detail::series_class(chart.holders, rectangle.holder) : "muted", level, rectangle.column,
      rectangle.row, rectangle.columns, rectangle.rows, detail::escape_html(text));
}

// The label of every n-th row of a segment, from its first.
std::string draw_offsets(const Grid& grid, const Layout& layout, const Segment& segment) {
  uint32_t every = 1;
  while (every * layout.square_height < kTickRoom) every *= 2;
  std::string out;
  for (uint32_t row = segment.first; row < segment.end; row += every) {
    const double y = segment.bottom - (row - segment.first) * layout.square_height;
    // The first label of the segment above would lie in this one.
    const double room = (segment.end - row) * layout.square_height;
    if (row != segment.first && room < kTickRoom / 2) break;
    out += detail::svg_line(layout.plot.left - 4, y, layout.plot.left, y, "zero");
    out += detail::svg_text(layout.plot.left - 8, y + 4, "end", "tick", offset_label(grid.offset(row)));
  }
  return out;
}

std::string draw_segment(const ArenaChart& chart, const Grid& grid, const Layout& layout,
                         const Segment& segment, const std::vector<Rectangle>& rectangles) {
  const double height = (segment.end - segment.first) * layout.square_height;
  std::string out = fmt::format("<rect class=\"ground\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
                                svg_number(layout.plot.left), svg_number(segment.bottom - height),
                                svg_number(layout.plot.width), svg_number(height));
  out += fmt::format("<g class=\"squares\" transform=\"translate({} {}) scale({:.6g} {:.6g})\">\n",
                     svg_number(layout.plot.left),
                     svg_number(segment.bottom + segment.first * layout.square_height), layout.square_width,
                     -layout.square_height);
  for (const Rectangle& rectangle : rectangles) {
    if (rectangle.row < segment.first || rectangle.row >= segment.end) continue;
    out += draw_rectangle(chart, grid, rectangle);
  }
  out += "</g>\n" + draw_offsets(grid, layout, segment);
  if (segment.gap > 0) {
    const double middle = layout.plot.left + layout.plot.width / 2;
    out += detail::svg_text(middle, segment.bottom + kGapHeight - 5, "middle", "tick",
                            fmt::format("⋯ {} where nothing ever lay ⋯", offset_label(segment.gap)));
  }
  return out;
}

// Coarser until the drawing has room for its rows, columns and rectangles.
Grid fitted(Grid grid, std::vector<Rectangle>& rectangles) {
  while (grid.rows > kMostRows || grid.columns > kMostColumns) {
    grid = coarser(grid, {grid.rows > kMostRows ? 2U : 1U, grid.columns > kMostColumns ? 2U : 1U});
  }
  for (rectangles = rectangles_of(grid); rectangles.size() > kMostRectangles;) {
    grid = coarser(grid, {2, 2});
    rectangles = rectangles_of(grid);
  }
  return grid;
}

}  // namespace

std::string draw(const ArenaChart& chart) {
  std::vector<Rectangle> rectangles;
  const Grid grid = fitted(grid_of(chart), rectangles);
  const Layout layout = layout_of(grid);
  std::string out;
  for (const Segment& segment : layout.segments) {
    out += draw_segment(chart, grid, layout, segment, rectangles);
  }
  out += detail::TimeAxis(grid.columns * grid.column_seconds).draw(layout.plot);
  return detail::figure(chart.title, chart.note, detail::legend_items(chart.holders),
                        layout.plot.bottom() + detail::kTimeAxisHeight, out);
}

}  // namespace lobit
