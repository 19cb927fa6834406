// What an OpProfiler saw, shown three ways: a table for people, JSON for programs, and events for a trace
// viewer (ui.perfetto.dev). Pure functions of plain values; any thread.
#pragma once

#include <optional>
#include <string>

#include "lobit/base/export.h"
#include "lobit/device/capabilities.h"
#include "lobit/ops/op_profiler.h"
#include "lobit/report/text_options.h"

namespace lobit {

struct OpReport {
  OpProfile profile = {};
  // What the machine's memory gives at most (memory_bandwidth()); the rates are compared with what reading
  // gets with as many threads. Operations on what the caches hold go beyond it.
  std::optional<MemoryBandwidth> limit = std::nullopt;
};

// A line for each kind of call, longest first; with ReportDetail::kTensors also the longest calls with their
// shapes.
LOBIT_API std::string to_text(const OpReport& report, const TextOptions& options = {});

// Schema "lobit.ops.v1".
LOBIT_API std::string to_json(const OpReport& report);

// Every call that the profiler kept, as a span with shapes and rate.
LOBIT_API std::string to_perfetto(const OpReport& report);

}  // namespace lobit
