#include "lobit/memory/trace_survey_internal.h"

namespace lobit::detail {

Result<TraceSurvey> survey_trace(const ByteSource& trace, const TraceLimits& limits) {
  LOBIT_TRY(TraceReader reader, TraceReader::open(trace, limits));
  TraceSurvey survey;
  FrequentSizes frequent;
  AddressRanges ranges;
  uint64_t live = 0;
  for (uint64_t number = 0;; ++number) {
    LOBIT_TRY(const std::optional<TraceEvent> event, reader.next());
    if (!event.has_value()) break;
    survey.duration_ns = event->time_ns;
    if (event->op == TraceOp::kFree) live -= event->bytes;
    if (event->op != TraceOp::kAllocate) continue;
    live += event->bytes;
    if (live > survey.peak_bytes) {
      survey.peak_bytes = live;
      survey.peak_event = number;
      survey.peak_time_ns = event->time_ns;
    }
    frequent.allocated({event->bytes, event->tag, event->stack});
    if (event->address != 0) ranges.add(event->address, event->bytes);
  }
  survey.name = reader.name().empty() ? trace.name() : std::string(reader.name());
  survey.limit = reader.limit();
  survey.tags = reader.tags();
  survey.stacks = reader.stacks();
  survey.slots = reader.slots();
  survey.frequent = frequent.candidates();
  survey.ranges = ranges.ranges();
  return survey;
}

}  // namespace lobit::detail
