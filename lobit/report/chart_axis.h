// The value axis of a chart: where a value lies between its ends, and where its ticks are. Internal to
// report.
#pragma once

#include <optional>
#include <vector>

#include "lobit/report/chart.h"

namespace lobit::detail {

// The least and the greatest of the values that a chart can draw.
class ValueRange {
 public:
  explicit ValueRange(ChartScale scale) : scale_(scale) {}
  void include(double value);
  bool drawable(double value) const;
  bool empty() const { return !least_; }
  double least() const { return least_.value_or(0); }
  double greatest() const { return greatest_.value_or(0); }

 private:
  ChartScale scale_;
  std::optional<double> least_;
  std::optional<double> greatest_;
};

class Axis {
 public:
  // A linear axis reaches from a round value at or below `least` to one at or above `greatest`, and to zero
  // when `from_zero`. A log axis ends at powers of its base: 2 for bytes, else 10.
  Axis(const ValueRange& range, ChartScale scale, ChartUnit unit, bool from_zero);

  // 0 at the low end, 1 at the high end.
  double place(double value) const;
  // Where bars start: zero, or the low end of a log axis.
  double base() const;
  const std::vector<double>& ticks() const { return ticks_; }

 private:
  void set_linear(double least, double greatest, ChartUnit unit);
  void set_log(double least, double greatest, ChartUnit unit);

  ChartScale scale_;
  double low_ = 0;  // of the value, or of its logarithm
  double high_ = 1;
  std::vector<double> ticks_;
};

}  // namespace lobit::detail
