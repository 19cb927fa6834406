#include "lobit/report/number.h"

#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace lobit {
namespace {

constexpr std::array<std::string_view, 5> kRateUnits{"B/s", "kB/s", "MB/s", "GB/s", "TB/s"};

std::optional<std::string> not_finite(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "∞" : "-∞";
  return std::nullopt;
}

}  // namespace

std::string format_count(uint64_t count) {
  std::string digits = fmt::format("{}", count);
  for (size_t end = digits.size(); end > 3;) {
    end -= 3;
    digits.insert(end, 1, ',');
  }
  return digits;
}

std::string format_counted(uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", format_count(count), noun, count == 1 ? "" : "s");
}

std::string format_fixed(double value, int digits) {
  if (const auto name = not_finite(value)) return *name;
  const std::string text = fmt::format("{:.{}f}", value, digits);
  // A small negative value must not become "-0.00".
  const bool is_zero = text.find_first_not_of("-0.") == std::string::npos;
  return is_zero && text.front() == '-' ? text.substr(1) : text;
}

std::string format_short(double value) {
  if (const auto name = not_finite(value)) return *name;
  return fmt::format("{:.3g}", value);
}

std::string format_percent(double part, double whole) {
  if (!(whole > 0)) return "-";
  const double percent = part / whole * 100;
  if (percent > 0 && percent < 0.05) return "<0.1 %";
  if (percent >= 99.95 && percent < 100) return ">99.9 %";
  return format_fixed(percent, 1) + " %";
}

std::string format_rate(double bytes, double seconds) {
  if (!(seconds > 0) || !std::isfinite(bytes)) return "-";
  double rate = bytes / seconds;
  size_t unit = 0;
  while (rate >= 999.5 && unit + 1 < kRateUnits.size()) {
    rate /= 1000;
    ++unit;
  }
  const int digits = rate >= 99.95 || unit == 0 ? 0 : rate >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", rate, digits, kRateUnits[unit]);
}

std::string format_duration(double seconds) {
  if (const auto name = not_finite(seconds)) return *name + " s";
  if (seconds < 0) return "-" + format_duration(-seconds);
  if (seconds < 0.0009995) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1e3);
  if (seconds < 59.95) return fmt::format("{:.1f} s", seconds);
  if (seconds >= 1e15) return fmt::format("{:.3g} h", seconds / 3600);
  const auto whole = static_cast<uint64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  const uint64_t minutes = (whole + 30) / 60;
  return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
}

std::string format_nanoseconds(double nanoseconds) {
  if (nanoseconds < 0) return "-" + format_nanoseconds(-nanoseconds);
  if (!(nanoseconds < 999.5e6)) return format_duration(nanoseconds / 1e9);
  if (nanoseconds < 999.5) return fmt::format("{:.0f} ns", nanoseconds);
  const bool micro = nanoseconds < 999.5e3;
  const double value = nanoseconds / (micro ? 1e3 : 1e6);
  return fmt::format("{:.{}f} {}", value, value < 9.95 ? 1 : 0, micro ? "us" : "ms");
}

}  // namespace lobit
