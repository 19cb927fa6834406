#include "lobit/report/time_axis.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

namespace lobit::detail {
namespace {

struct TimeUnit {
  double seconds;
  std::string_view name;
};

constexpr std::array<TimeUnit, 6> kUnits{{{1e-9, "nanoseconds"},
                                          {1e-6, "microseconds"},
                                          {1e-3, "milliseconds"},
                                          {1, "seconds"},
                                          {60, "minutes"},
                                          {3600, "hours"}}};

}  // namespace

TimeAxis::TimeAxis(double seconds) : seconds_(std::isfinite(seconds) && seconds > 0 ? seconds : 1) {
  unit_seconds_ = kUnits.front().seconds;
  unit_name_ = kUnits.front().name;
  for (const TimeUnit& unit : kUnits) {
    // From two minutes on, minutes: "90 seconds" reads better than "1.5 minutes".
    if (seconds_ < unit.seconds * (unit.seconds > 1 ? 2 : 1)) break;
    unit_seconds_ = unit.seconds;
    unit_name_ = unit.name;
  }
}

double TimeAxis::place(double seconds) const {
  return std::isfinite(seconds) ? std::clamp(seconds / seconds_, 0.0, 1.0) : 0;
}

std::string TimeAxis::draw(const PlotArea& plot) const {
  ValueRange range(ChartScale::kLinear);
  range.include(seconds_ / unit_seconds_);
  const Axis axis(range, ChartScale::kLinear, ChartUnit::kNumber, true);
  std::string out;
  for (const double tick : axis.ticks()) {
    const double at = tick * unit_seconds_ / seconds_;
    if (at > 1 + 1e-9) break;  // the plot ends where time does, which need not be at a tick
    const double x = plot.left + at * plot.width;
    out += svg_line(x, plot.bottom(), x, plot.bottom() + 4, "zero");
    out += svg_text(x, plot.bottom() + 18, "middle", "tick", fmt::format("{:.6g}", tick));
  }
  return out + svg_text(plot.left + plot.width / 2, plot.bottom() + 38, "middle", "tick", unit_name_);
}

}  // namespace lobit::detail
