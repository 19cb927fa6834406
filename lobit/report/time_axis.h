// The time axis of a chart: seconds from the left end of a plot, with ticks in the unit that suits the whole.
// Internal to report.
#pragma once

#include <string>
#include <string_view>

#include "lobit/report/svg.h"

namespace lobit::detail {

class TimeAxis {
 public:
  // From 0 to `seconds`; an axis of no time stands for one second.
  explicit TimeAxis(double seconds);

  // 0 at the left end, 1 at the right end.
  double place(double seconds) const;
  // Ticks and the unit's name under the plot, 46 units high.
  std::string draw(const PlotArea& plot) const;

 private:
  double seconds_;
  double unit_seconds_ = 1;
  std::string_view unit_name_ = "s";
};

// 46 units: a line of ticks and a line that says what they are.
inline constexpr double kTimeAxisHeight = 46;

}  // namespace lobit::detail
