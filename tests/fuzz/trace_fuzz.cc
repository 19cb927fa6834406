// What reads as a trace keeps its rules, can be replayed, and is written back: events byte for byte, facts so
// that they mean the same. What does not read names the line that is wrong.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/replay.h"
#include "lobit/memory/system_resource.h"

namespace {

using namespace lobit;  // NOLINT(google-build-using-namespace): a program of its own

// The rules once more, by way of a map. Returns the blocks that are left.
uint64_t check_events(const Trace& trace) {
  std::map<uint64_t, TraceEvent> live;
  std::vector<bool> taken(trace.slots());
  uint64_t live_bytes = 0;
  uint64_t peak = 0;
  for (const TraceEvent& event : trace.events()) {
    if (event.op == TraceOp::kAllocate) {
      LOBIT_CHECK(live.emplace(event.block, event).second);
      LOBIT_CHECK(!taken.at(event.slot));
      taken[event.slot] = true;
      live_bytes += event.bytes;
      LOBIT_CHECK(live_bytes >= event.bytes);
      peak = live_bytes > peak ? live_bytes : peak;
    } else if (event.op == TraceOp::kFree) {
      const TraceEvent& begin = live.at(event.block);
      LOBIT_CHECK(begin.bytes == event.bytes && begin.alignment == event.alignment);
      LOBIT_CHECK(begin.slot == event.slot);
      taken[event.slot] = false;
      live_bytes -= event.bytes;
      live.erase(event.block);
    }
  }
  LOBIT_CHECK(peak == trace.peak_live_bytes());
  return live.size();
}

// The lines that are no facts.
std::string events_of(std::string_view text) {
  std::string events;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n') + 1);
    if (!line.starts_with('#')) events += line;
    text.remove_prefix(line.size());
  }
  return events;
}

TraceReader read_to_end(const MemorySource& source) {
  TraceReader reader = TraceReader::open(source).value();
  while (reader.next().value().has_value()) continue;
  return reader;
}

void check_written(const Trace& trace, const MemorySource& source, std::string_view input) {
  const TraceReader reader = read_to_end(source);
  TraceText text;
  TraceWriter writer(text);
  for (size_t i = 0; i < reader.tags().size(); ++i)
    LOBIT_CHECK(writer.add_tag(reader.tags()[i]).value() == i);
  for (const TraceEvent& event : trace.events()) LOBIT_CHECK(writer.append(event).has_value());
  if (!reader.name().empty()) LOBIT_CHECK(writer.append_name(reader.name()).has_value());
  if (reader.limit()) LOBIT_CHECK(writer.append_limit(*reader.limit()).has_value());
  for (const auto& [number, frames] : reader.stacks()) {
    LOBIT_CHECK(writer.append_stack(number, frames).has_value());
  }
  LOBIT_CHECK(writer.close().has_value());
  LOBIT_CHECK(events_of(text.text()) == events_of(input));

  const MemorySource written(std::as_bytes(std::span(text.text())), "written");
  const TraceReader again = read_to_end(written);
  LOBIT_CHECK(again.name() == reader.name() || reader.name().size() > 2000);  // long ones are cut
  LOBIT_CHECK(again.limit() == reader.limit());
  LOBIT_CHECK(again.stacks().size() == reader.stacks().size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const MemorySource source(std::as_bytes(std::span(input)), "input");
  const Result<Trace> trace = Trace::read(source, {.max_live_blocks = 1000});
  if (!trace) {
    LOBIT_CHECK(trace.error().detail.index.value() >= 1);
    LOBIT_CHECK(trace.error().detail.offset.value() <= size);
    return 0;
  }
  const uint64_t left = check_events(*trace);
  check_written(*trace, source, input);

  SystemResource system;
  FailingResource small(system, {.above_bytes = 1 << 16});
  const ReplayResult result = replay(*trace, small, {.touch = Touch::kEveryPage});
  LOBIT_CHECK(result.events == trace->events().size());
  LOBIT_CHECK(result.frees == result.allocations && result.failed_frees == 0);
  LOBIT_CHECK(result.left_blocks <= left);
  LOBIT_CHECK(system.usage().allocated == 0);
  return 0;
}
