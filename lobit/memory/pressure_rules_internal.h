// How numbers become levels of pressure. Functions without state and one record of the last second; whoever
// has the record guards it.
#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <filesystem>

#include "lobit/device/pressure_stall.h"
#include "lobit/memory/pressure_monitor.h"

namespace lobit::detail {

Status check_options(const PressureOptions& options);

// `current` is the level that the same source had: a level ends lower than it begins.
MemoryPressureLevel level_of_use(const PressureThresholds& thresholds, uint64_t used, uint64_t limit,
                                 MemoryPressureLevel current);
MemoryPressureLevel level_of_stall(double some, double full, MemoryPressureLevel current);

// The totals of about the last second.
class StallWindow {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Shares {
    double some = 0;
    double full = 0;
  };

  // `now` does not go back. Shares of a whole second also while the record is shorter: what stood still
  // shortly after the beginning counts no more than it would later. Another file, or totals that fell, begin
  // it anew.
  Shares add(Time now, const MemoryStall& stall);

 private:
  struct Sample {
    Time time;
    uint64_t some_us;
    uint64_t full_us;
  };

  std::filesystem::path path_;
  std::deque<Sample> samples_;  // the first is the newest that is a second old, as soon as there is one
};

}  // namespace lobit::detail
