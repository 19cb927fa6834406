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

// 1536 bytes -> "1.5 KiB", 12.345 decibels -> "12.3 dB"
LOBIT_API std::string format_chart_value(ChartUnit unit, double value);

// A <figure> with a caption, a legend (for several series) and the drawing.
LOBIT_API std::string draw(const BarChart& chart);
LOBIT_API std::string draw(const LineChart& chart);

}  // namespace lobit
