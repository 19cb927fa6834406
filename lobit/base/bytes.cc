#include "lobit/base/bytes.h"

#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

namespace lobit {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};

constexpr double kKi = 1024.0;
constexpr std::array<Unit, 14> kUnits{{
    {"", 1},
    {"b", 1},
    {"k", kKi},
    {"kib", kKi},
    {"kb", 1e3},
    {"m", kKi* kKi},
    {"mib", kKi* kKi},
    {"mb", 1e6},
    {"g", kKi* kKi* kKi},
    {"gib", kKi* kKi* kKi},
    {"gb", 1e9},
    {"t", kKi* kKi* kKi* kKi},
    {"tib", kKi* kKi* kKi* kKi},
    {"tb", 1e12},
}};

tl::unexpected<Error> not_a_size(std::string_view text) {
  return fail(
      ErrorCode::kInvalidArgument,
      fmt::format("size '{}': expected a number with an optional unit such as 256MiB, 1.5GiB or 50%", text));
}

}  // namespace

Result<uint64_t> parse_bytes(std::string_view text, uint64_t whole) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number, std::chars_format::fixed);
  if (error != std::errc() || !(number >= 0)) return not_a_size(text);

  std::string unit;
  for (const char* p = rest; p != end; ++p) {
    if (*p == ' ' && unit.empty()) continue;
    unit.push_back(static_cast<char>(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p));
  }
  double bytes = -1;
  if (unit == "%") {
    if (whole == 0)
      return fail(ErrorCode::kInvalidArgument, fmt::format("size '{}': a percentage of what?", text));
    bytes = number / 100.0 * static_cast<double>(whole);
  }
  for (const Unit& u : kUnits) {
    if (u.name == unit) bytes = number * u.factor;
  }
  if (bytes < 0) return not_a_size(text);
  if (bytes >= 18446744073709551616.0) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("size '{}': more than 64 bits can count", text));
  }
  return static_cast<uint64_t>(std::floor(bytes));
}

std::string format_bytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 6> kNames{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / kKi;
  size_t unit = 0;
  while (value >= 1023.95 && unit + 1 < kNames.size()) {
    value /= kKi;
    ++unit;
  }
  std::string digits = fmt::format("{:.1f}", value);
  if (digits.ends_with(".0")) digits.resize(digits.size() - 2);
  return fmt::format("{} {}", digits, kNames[unit]);
}

}  // namespace lobit
