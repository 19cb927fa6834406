// Charts as plain data, drawn as inline SVG: no script, no external resource, colours from the page's classes
// (light and dark), every mark with a tooltip. Labels are hostile text and escaped. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lobit/base/export.h"

namespace lobit {

// What a chart's values count; decides how they are written and where the axis has its ticks.
enum class ChartUnit : uint8_t { kNumber, kBytes, kDecibels, kPercent, kSeconds };
enum class ChartScale : uint8_t { kLinear, kLog };

// A value that is not finite, or not positive on a log scale, draws no mark and leaves a gap.
struct ChartSeries {
  std::string name = {};
  std::vector<double> values = {};  // one for each category or index
  bool muted = false;               // drawn in grey: what the other series are compared with
};

// A dashed line across the plot, such as a memory limit.
struct ReferenceLine {
  double value = 0;
  std::string label = {};
};

struct BarChart {
  enum class Direction : uint8_t { kHorizontal, kVertical };
  enum class Arrangement : uint8_t { kGrouped, kStacked };

  std::string title = {};
  std::string note = {};  // a sentence under the title; may be empty
  std::vector<std::string> categories = {};
  std::vector<ChartSeries> series = {};
  Direction direction = Direction::kHorizontal;
  Arrangement arrangement = Arrangement::kGrouped;  // stacked bars are always on a linear scale
  ChartUnit unit = ChartUnit::kNumber;
  ChartScale scale = ChartScale::kLinear;
  std::optional<ReferenceLine> reference = std::nullopt;
  std::string category_title = {};  // what the categories are: "layer"
};

// Values over an index that counts up by one from `first_index`.
struct LineChart {
  std::string title = {};
  std::string note = {};
  std::string index_title = {};
  int64_t first_index = 0;
  std::vector<ChartSeries> series = {};
  ChartUnit unit = ChartUnit::kNumber;
  ChartScale scale = ChartScale::kLinear;
  std::optional<ReferenceLine> reference = std::nullopt;
};

// Amounts that add up, stacked over time, and a line on top of them that is not part of the sum. Values are
// at `times`, with straight lines between them; one that is not finite, or negative, counts as zero in a
// stack and leaves a gap in the line.
struct AreaChart {
  std::string title = {};
  std::string note = {};
  std::vector<double> times = {};       // seconds since the left end, ascending
  double end = 0;                       // seconds; the time axis reaches at least so far
  std::vector<ChartSeries> areas = {};  // the first at the bottom
  std::optional<ChartSeries> line = std::nullopt;
  ChartUnit unit = ChartUnit::kNumber;
  std::optional<ReferenceLine> reference = std::nullopt;
  std::optional<ReferenceLine> moment = std::nullopt;  // upright, at a time: when most was live
};

// Squares over time (to the right) and addresses (upwards): the colour says who holds most of a square, and
// is the paler the less of it is held.
struct ArenaChart {
  // Addresses below `row` that are left out.
  struct Gap {
    uint32_t row = 0;
    uint64_t bytes = 0;
  };
  std::string title = {};
  std::string note = {};
  uint32_t rows = 0;
  uint32_t columns = 0;
  uint64_t row_bytes = 0;
  double column_seconds = 0;
  std::vector<ChartSeries> holders = {};  // their names and colours; values say nothing
  std::vector<uint8_t> shares = {};       // rows x columns, row after row: 0 is free, 255 all held
  std::vector<uint8_t> holder = {};       // the same: of `holders`
  std::vector<Gap> gaps = {};             // ascending
};

// 1536 bytes -> "1.5 KiB", 12.345 decibels -> "12.3 dB"
LOBIT_API std::string format_chart_value(ChartUnit unit, double value);

// A <figure> with a caption, a legend (for several series) and the drawing. However many values a chart has,
// its drawing has a bounded number of marks: neighbours then stand for one another, in an area chart the
// moment with the greatest sum for those around it.
LOBIT_API std::string draw(const BarChart& chart);
LOBIT_API std::string draw(const LineChart& chart);
LOBIT_API std::string draw(const AreaChart& chart);
LOBIT_API std::string draw(const ArenaChart& chart);

}  // namespace lobit
