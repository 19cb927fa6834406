// to_perfetto(MemoryProfile): the JSON form of trace events, in which times are microseconds.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/report/json_values.h"
#include "lobit/report/memory_report.h"
#include "lobit/report/memory_tables.h"

namespace lobit {
namespace {

using detail::Json;

constexpr int kProcess = 1;
constexpr size_t kMostBlocks = 200;  // spans beyond it hide each other

double microseconds(uint64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1000;
}

Json event(const char* phase, std::string name, uint64_t time_ns) {
  return {
      {"name", std::move(name)}, {"ph", phase}, {"pid", kProcess}, {"tid", 0}, {"ts", microseconds(time_ns)}};
}

Json metadata(const char* what, uint64_t thread, std::string name) {
  Json out = event("M", what, 0);
  out["tid"] = thread;
  out["args"] = {{"name", std::move(name)}};
  return out;
}

// Thread 0 of a profile is 1 here: 0 stands for the process.
uint64_t thread_number(const UnfreedBlock& block) {
  return uint64_t{block.thread} + 1;
}

// One event holds all tags, which chrome://tracing stacks. Every tag that ever held something is in every
// event, or its track would keep the value it had.
Json tags_event(const MemoryProfile& profile, const MemoryMoment& moment, const std::set<size_t>& held) {
  Json out = event("C", "live bytes", moment.time_ns);
  Json args = Json::object();
  for (const size_t tag : held) {
    const uint64_t bytes = tag < moment.bytes_by_tag.size() ? moment.bytes_by_tag[tag] : 0;
    Json& value = args[detail::tag_name(profile, static_cast<uint32_t>(tag))];
    value = (value.is_null() ? 0 : value.get<uint64_t>()) + bytes;
  }
  if (args.empty()) args["all"] = moment.live_bytes;
  out["args"] = std::move(args);
  return out;
}

Json counter(const char* name, uint64_t time_ns, uint64_t bytes) {
  Json out = event("C", name, time_ns);
  out["args"] = {{"bytes", bytes}};
  return out;
}

void add_counters(Json& events, const MemoryProfile& profile) {
  std::set<size_t> held;
  for (const MemoryMoment& moment : profile.timeline) {
    for (size_t tag = 0; tag < moment.bytes_by_tag.size(); ++tag) {
      if (moment.bytes_by_tag[tag] > 0) held.insert(tag);
    }
  }
  for (const MemoryMoment& moment : profile.timeline) {
    events.push_back(tags_event(profile, moment, held));
    if (moment.committed > 0) events.push_back(counter("committed", moment.time_ns, moment.committed));
  }
  if (profile.limit) {
    events.push_back(counter("limit", 0, *profile.limit));
    events.push_back(counter("limit", profile.duration_ns, *profile.limit));
  }
}

void add_peak(Json& events, const MemoryProfile& profile) {
  if (profile.peak.live_bytes == 0) return;
  Json out =
      event("i", fmt::format("peak: {} live", format_bytes(profile.peak.live_bytes)), profile.peak.time_ns);
  out["s"] = "g";  // across all threads
  out["args"] = {{"live_bytes", profile.peak.live_bytes}, {"committed", profile.peak.committed}};
  events.push_back(std::move(out));
}

Json stack_json(const MemoryProfile& profile, uint32_t stack) {
  Json out = Json::array();
  if (stack >= profile.stacks.size()) return out;
  for (const StackFrame& frame : profile.stacks[stack]) {
    out.push_back(frame.file.empty() ? frame.function
                                     : fmt::format("{} at {}:{}", frame.function, frame.file, frame.line));
  }
  return out;
}

void add_blocks(Json& events, const MemoryProfile& profile) {
  std::set<uint64_t> threads;
  const size_t count = std::min(profile.unfreed.size(), kMostBlocks);
  for (size_t i = 0; i < count; ++i) {
    const UnfreedBlock& block = profile.unfreed[i];
    const std::string name =
        fmt::format("{} unfreed, {}", format_bytes(block.bytes), detail::tag_name(profile, block.tag));
    Json begin = event("b", name, block.time_ns);
    begin["cat"] = "unfreed";
    begin["id"] = fmt::format("{:#x}", i + 1);
    begin["tid"] = thread_number(block);
    Json end = begin;
    end["ph"] = "e";
    end["ts"] = microseconds(std::max(profile.duration_ns, block.time_ns));
    begin["args"] = {{"bytes", block.bytes},
                     {"address", fmt::format("{:#x}", block.address)},
                     {"tag", detail::tag_name(profile, block.tag)},
                     {"stack", stack_json(profile, block.stack)}};
    events.push_back(std::move(begin));
    events.push_back(std::move(end));
    threads.insert(block.thread);
  }
  for (const uint64_t thread : threads) {
    events.push_back(metadata("thread_name", thread + 1, fmt::format("thread {}", thread)));
  }
}

}  // namespace

std::string to_perfetto(const MemoryProfile& profile) {
  Json events = Json::array();
  events.push_back(metadata("process_name", 0, profile.name.empty() ? "memory" : profile.name));
  events.push_back(metadata("thread_name", 0, "memory"));
  add_counters(events, profile);
  add_peak(events, profile);
  add_blocks(events, profile);
  return detail::dump({{"traceEvents", std::move(events)},
                       {"displayTimeUnit", "ms"},
                       {"otherData",
                        {{"allocations", fmt::format("{}", profile.allocations)},
                         {"frees", fmt::format("{}", profile.frees)},
                         {"refused", fmt::format("{}", profile.refused)}}}});
}

}  // namespace lobit
