// TraceSurvey: what has to be known of a trace before a profile of it is drawn. Plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lobit/memory/address_ranges_internal.h"
#include "lobit/memory/repeating_sizes_internal.h"
#include "lobit/memory/trace.h"

namespace lobit::detail {

struct TraceSurvey {
  std::string name;  // that of the source when the trace has none
  std::optional<uint64_t> limit;
  std::vector<std::string> tags;
  std::map<uint32_t, StackTrace> stacks;
  uint64_t duration_ns = 0;  // the time of the last event
  uint64_t slots = 0;
  uint64_t peak_bytes = 0;
  uint64_t peak_event = UINT64_MAX;  // after which most is live for the first time, counted from 0
  uint64_t peak_time_ns = 0;
  std::vector<SizeKey> frequent;  // with stacks as the trace numbers them
  std::vector<AddressRange> ranges;
};

// The errors of TraceReader.
Result<TraceSurvey> survey_trace(const ByteSource& trace, const TraceLimits& limits);

}  // namespace lobit::detail
