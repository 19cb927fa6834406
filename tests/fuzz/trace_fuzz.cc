// What reads as a trace keeps its rules, can be replayed, and is written back: events byte for byte, facts so
// that they mean the same. Its profile adds up. What does not read names the line that is wrong.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lobit/base/check.h"
#include "lobit/memory/failing_resource.h"
#include "lobit/memory/profile_trace.h"
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

uint64_t sum(const auto& values, auto part) {
  uint64_t total = 0;
  for (const auto& value : values) total += part(value);
  return total;
}

void check_profile(const Trace& trace, const MemorySource& source) {
  const MemoryProfile profile = profile_trace(source, {.max_live_blocks = 1000}).value();
  LOBIT_CHECK(profile.allocations - profile.frees == profile.live_blocks);
  LOBIT_CHECK(profile.peak.live_bytes == trace.peak_live_bytes());
  const auto count = [](uint64_t value) { return value; };
  const auto bytes = [](const auto& holder) { return holder.bytes; };
  LOBIT_CHECK(sum(profile.peak.bytes_by_tag, count) == profile.peak.live_bytes);
  LOBIT_CHECK(sum(profile.at_peak, bytes) == profile.peak.live_bytes);
  LOBIT_CHECK(sum(profile.at_end, bytes) == profile.live_bytes);
  LOBIT_CHECK(sum(profile.unfreed, bytes) == profile.live_bytes);
  LOBIT_CHECK(sum(profile.sizes, count) == profile.allocations);
  LOBIT_CHECK(sum(profile.lifetimes, count) == profile.frees);
  LOBIT_CHECK(profile.timeline.size() <= 512);
  for (const MemoryMoment& moment : profile.timeline) {
    LOBIT_CHECK(moment.live_bytes <= profile.peak.live_bytes && moment.time_ns <= profile.duration_ns);
    LOBIT_CHECK(sum(moment.bytes_by_tag, count) == moment.live_bytes);
  }
  LOBIT_CHECK(profile.arenas.size() <= 4);
  for (const ArenaMap& map : profile.arenas) {
    LOBIT_CHECK(map.rows >= 1 && map.rows <= 64 && map.columns >= 1 && map.columns <= 256);
    LOBIT_CHECK(map.live.size() == size_t{map.rows} * map.columns && map.tag.size() == map.live.size());
  }
  for (const MemoryPattern& pattern : profile.patterns) {
    LOBIT_CHECK(pattern.tag < profile.tags.size() && pattern.stack < profile.stacks.size());
  }
  for (const PeakAdvice& advice : profile.advice) LOBIT_CHECK(advice.bytes > 0);
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
  check_profile(*trace, source);

  SystemResource system;
  FailingResource small(system, {.above_bytes = 1 << 16});
  const ReplayResult result = replay(*trace, small, {.touch = Touch::kEveryPage});
  LOBIT_CHECK(result.events == trace->events().size());
  LOBIT_CHECK(result.frees == result.allocations && result.failed_frees == 0);
  LOBIT_CHECK(result.left_blocks <= left);
  LOBIT_CHECK(system.usage().allocated == 0);
  return 0;
}
