#include "lobit/report/chart_axis.h"

#include <algorithm>
#include <cmath>

namespace lobit::detail {
namespace {

constexpr double kMostTicks = 6;

// 1, 2 or 5 times a power of ten, so that about kMostTicks steps cover `span`.
double round_step(double span) {
  const double raw = span / kMostTicks;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  const double lead = raw / power;
  return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

// Bytes have round values in their own unit: 512 MiB, not 536870912 / 10^8.
double unit_size(ChartUnit unit, double greatest) {
  if (unit != ChartUnit::kBytes || greatest < 1024) return 1;
  return std::pow(1024.0, std::floor(std::log2(greatest) / 10));
}

// A step within a unit of bytes halves it, so that ticks are round in the next smaller unit, too: 256 MiB of
// a GiB, not 204.8.
double binary_step(double step, ChartUnit unit) {
  return unit == ChartUnit::kBytes && step < 1 ? std::exp2(std::ceil(std::log2(step) - 1e-9)) : step;
}

// Closer ticks would read the same: labels have one digit after the point, and bytes are whole.
double smallest_step(ChartUnit unit, double size) {
  if (unit == ChartUnit::kBytes) return size == 1 ? 1 : 0.1;
  return unit == ChartUnit::kDecibels || unit == ChartUnit::kPercent ? 0.1 : 0;
}

}  // namespace

bool ValueRange::drawable(double value) const {
  return std::isfinite(value) && (scale_ == ChartScale::kLinear || value > 0);
}

void ValueRange::include(double value) {
  if (!drawable(value)) return;
  least_ = std::min(least_.value_or(value), value);
  greatest_ = std::max(greatest_.value_or(value), value);
}

Axis::Axis(const ValueRange& range, ChartScale scale, ChartUnit unit, bool from_zero) : scale_(scale) {
  if (scale == ChartScale::kLog) {
    set_log(range.empty() ? 1 : range.least(), range.empty() ? 1 : range.greatest(), unit);
  } else {
    const double least = from_zero ? std::min(0.0, range.least()) : range.least();
    const double greatest = from_zero ? std::max(0.0, range.greatest()) : range.greatest();
    set_linear(least, greatest, unit);
  }
}

void Axis::set_linear(double least, double greatest, ChartUnit unit) {
  // A span so small that its tick step would round to zero counts as none.
  if (!(greatest - least > 1e-300)) greatest = least + std::max(1.0, std::abs(least) / 8);
  const double size = unit_size(unit, greatest);
  const double rounded = binary_step(round_step((greatest - least) / size), unit);
  const double step = std::max(rounded, smallest_step(unit, size)) * size;
  const double first = std::floor(least / step + 1e-9);
  const double last = std::ceil(greatest / step - 1e-9);
  low_ = first * step;
  high_ = last * step;
  const auto steps = static_cast<int>(last - first);
  for (int i = 0; i <= steps; ++i) ticks_.push_back((first + i) * step);
}

void Axis::set_log(double least, double greatest, ChartUnit unit) {
  const double base = unit == ChartUnit::kBytes ? 2 : 10;
  low_ = std::floor(std::log(least) / std::log(base) + 1e-9);
  high_ = std::ceil(std::log(greatest) / std::log(base) - 1e-9);
  // The least value gets a bar too, so it must not lie at the very end.
  if (std::pow(base, low_) >= least) --low_;
  high_ = std::max(high_, low_ + 1);
  const double step = std::ceil((high_ - low_) / kMostTicks);
  const auto steps = static_cast<int>((high_ - low_) / step);
  for (int i = 0; i <= steps; ++i) ticks_.push_back(std::pow(base, low_ + i * step));
  const double log_of_base = std::log(base);
  low_ *= log_of_base;
  high_ *= log_of_base;
}

double Axis::place(double value) const {
  const double position = scale_ == ChartScale::kLog ? std::log(value) : value;
  return std::clamp((position - low_) / (high_ - low_), 0.0, 1.0);
}

double Axis::base() const {
  return scale_ == ChartScale::kLog ? std::exp(low_) : std::clamp(0.0, low_, high_);
}

}  // namespace lobit::detail
