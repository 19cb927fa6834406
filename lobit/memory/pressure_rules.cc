#include <algorithm>

#include <fmt/format.h>

#include "lobit/memory/pressure_rules_internal.h"

namespace lobit {
namespace detail {
namespace {

using namespace std::chrono_literals;

constexpr size_t kLevels = 4;  // above none
using Ladder = std::array<double, kLevels>;

// Level begins at its threshold and ends this much lower.
constexpr double kSlack = 0.02;
// 0.95 - 0.02 is a little less than 0.93.
constexpr double kRounding = 1e-9;

// Android's lmkd takes 70 ms of `some` in a second for medium pressure and 70 to 700 ms of `full`, depending
// on its version, for critical. systemd-oomd waits for 30 s of 60 % `full`: too late to free something.
constexpr Ladder kStallThresholds = {0.02, 0.07, 0.20, 0.10};

constexpr auto kWindow = 1s;
// Samples of who checks more often are not kept, so that there are few.
constexpr auto kApart = 50ms;

// The highest level whose share is at its threshold.
MemoryPressureLevel highest_level(const Ladder& shares, const Ladder& thresholds,
                                  MemoryPressureLevel current) {
  for (size_t i = kLevels; i-- > 0;) {
    const auto level = static_cast<MemoryPressureLevel>(i + 1);
    const double end = thresholds[i] - std::min(kSlack, thresholds[i] / 2) + kRounding;
    if (current >= level ? shares[i] > end : shares[i] >= thresholds[i]) return level;
  }
  return MemoryPressureLevel::kNone;
}

double share_of(uint64_t part_us, std::chrono::nanoseconds time) {
  const double us = std::chrono::duration<double, std::micro>(time).count();
  return std::min(static_cast<double>(part_us) / us, 1.0);
}

}  // namespace

Status check_options(const PressureOptions& options) {
  const PressureThresholds& t = options.thresholds;
  const Ladder ladder = {t.low, t.medium, t.high, t.critical};
  // Written so that NaN is refused.
  if (!std::ranges::is_sorted(ladder) ||
      !std::ranges::all_of(ladder, [](double share) { return share > 0 && share <= 1; })) {
    return fail(
        ErrorCode::kInvalidArgument,
        fmt::format("pressure options: thresholds: expected ascending shares above 0 and up to 1, found "
                    "{}, {}, {} and {}",
                    t.low, t.medium, t.high, t.critical));
  }
  constexpr std::chrono::milliseconds kLongest = 24h;
  if (options.interval < options.interval.zero() || options.interval > kLongest) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("pressure options: interval: expected 0 to {} ms, found {}", kLongest.count(),
                            options.interval.count()));
  }
  return {};
}

MemoryPressureLevel level_of_use(const PressureThresholds& thresholds, uint64_t used, uint64_t limit,
                                 MemoryPressureLevel current) {
  // A group with limit 0 has none to give.
  const double share = limit != 0 ? static_cast<double>(used) / static_cast<double>(limit) : 1;
  return highest_level({share, share, share, share},
                       {thresholds.low, thresholds.medium, thresholds.high, thresholds.critical}, current);
}

MemoryPressureLevel level_of_stall(double some, double full, MemoryPressureLevel current) {
  return highest_level({some, some, some, full}, kStallThresholds, current);
}

StallWindow::Shares StallWindow::add(Time now, const MemoryStall& stall) {
  const Sample sample{now, stall.some_us, stall.full_us};
  const bool is_other = stall.path != path_ || samples_.empty() || sample.some_us < samples_.back().some_us ||
                        sample.full_us < samples_.back().full_us;
  if (is_other) {
    path_ = stall.path;
    samples_.assign(1, sample);
    return {};
  }
  while (samples_.size() > 1 && now - samples_[1].time >= kWindow) samples_.pop_front();
  const Sample first = samples_.front();
  if (now - samples_.back().time >= kApart) samples_.push_back(sample);
  const auto time = std::max<std::chrono::nanoseconds>(now - first.time, kWindow);
  return {share_of(sample.some_us - first.some_us, time), share_of(sample.full_us - first.full_us, time)};
}

}  // namespace detail

Result<PressureThresholds> PressureThresholds::from_ratio(double ratio) {
  if (!(ratio > 0 && ratio <= 1)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("pressure thresholds: ratio: expected above 0 and up to 1, found {}", ratio));
  }
  const PressureThresholds usual;
  const double scale = ratio / usual.medium;
  return PressureThresholds{.low = usual.low * scale,
                            .medium = ratio,
                            .high = std::min(usual.high * scale, 1.0),
                            .critical = std::min(usual.critical * scale, 1.0)};
}

}  // namespace lobit
