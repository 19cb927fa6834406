// to_json(MemoryProfile).
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "lobit/report/json_values.h"
#include "lobit/report/memory_report.h"
#include "lobit/report/memory_tables.h"

namespace lobit {
namespace {

using detail::Json;

// {f(item), f(item), ...}; an empty list stays a list.
template <typename Items, typename Make>
Json list_of(const Items& items, Make make) {
  Json out = Json::array();
  for (const auto& item : items) out.push_back(make(item));
  return out;
}

Json moment_json(const MemoryMoment& moment) {
  return {{"time_ns", moment.time_ns},
          {"live_bytes", moment.live_bytes},
          {"committed", moment.committed},
          {"bytes_by_tag", moment.bytes_by_tag}};
}

Json frame_json(const StackFrame& frame) {
  Json out = Json::object();
  if (!frame.function.empty()) out["function"] = frame.function;
  if (!frame.file.empty()) out["file"] = frame.file;
  if (frame.line > 0) out["line"] = frame.line;
  return out;
}

Json holder_json(const MemoryHolder& holder) {
  return {{"tag", holder.tag}, {"stack", holder.stack}, {"bytes", holder.bytes}, {"blocks", holder.blocks}};
}

Json block_json(const UnfreedBlock& block) {
  Json out = {{"block", block.block},     {"address", block.address}, {"bytes", block.bytes},
              {"time_ns", block.time_ns}, {"age_ns", block.age_ns},   {"thread", block.thread},
              {"tag", block.tag},         {"stack", block.stack}};
  if (!block.device.empty()) out["device"] = block.device;
  return out;
}

Json pattern_json(const MemoryPattern& pattern) {
  return {{"kind", detail::pattern_name(pattern.kind)},
          {"tag", pattern.tag},
          {"stack", pattern.stack},
          {"bytes", pattern.bytes},
          {"blocks", pattern.blocks},
          {"text", pattern.text},
          {"advice", pattern.advice}};
}

// Row after row; a square is a character of two digits, so that a map of 10,000 stays readable.
Json squares_json(const std::vector<uint8_t>& squares, uint32_t columns) {
  Json out = Json::array();
  for (size_t at = 0; columns > 0 && at < squares.size(); at += columns) {
    std::string row;
    for (size_t i = at; i < std::min(at + columns, squares.size()); ++i) {
      row += fmt::format("{:02x}", squares[i]);
    }
    out.push_back(row);
  }
  return out;
}

Json arena_json(const ArenaMap& arena) {
  return {{"first_address", arena.first_address},
          {"row_bytes", arena.row_bytes},
          {"column_ns", arena.column_ns},
          {"rows", arena.rows},
          {"columns", arena.columns},
          {"gaps",
           list_of(arena.gaps,
                   [](const ArenaMap::Gap& gap) { return Json{{"row", gap.row}, {"bytes", gap.bytes}}; })},
          {"live", squares_json(arena.live, arena.columns)},
          {"tag", squares_json(arena.tag, arena.columns)}};
}

Json fragmentation_json(const MemoryFragmentation& parts) {
  return {{"committed", parts.committed},       {"requested", parts.requested},
          {"rounding", parts.rounding},         {"free", parts.free},
          {"largest_free", parts.largest_free}, {"free_pieces", parts.free_pieces},
          {"unusable", parts.unusable()}};
}

Json latency_json(const CallLatency& latency) {
  return {{"timed", latency.timed},
          {"mean_ns", latency.mean_ns},
          {"p50_ns", latency.p50_ns},
          {"p99_ns", latency.p99_ns},
          {"max_ns", latency.max_ns}};
}

Json totals_json(const MemoryProfile& profile) {
  Json out = {{"schema", "lobit.memory.v1"}, {"name", profile.name}, {"duration_ns", profile.duration_ns}};
  if (profile.limit) out["limit"] = *profile.limit;
  out["totals"] = {{"allocations", profile.allocations},
                   {"frees", profile.frees},
                   {"refused", profile.refused},
                   {"allocated_bytes", profile.allocated_bytes},
                   {"live_bytes", profile.live_bytes},
                   {"live_blocks", profile.live_blocks},
                   {"peak_committed", profile.peak_committed},
                   {"trims", profile.trims},
                   {"trimmed_bytes", profile.trimmed_bytes},
                   {"threads", profile.threads},
                   {"mean_lifetime_ns", profile.mean_lifetime_ns}};
  out["is_estimate"] = profile.is_estimate;
  return out;
}

}  // namespace

std::string to_json(const MemoryProfile& profile) {
  Json out = totals_json(profile);
  out["tags"] = profile.tags;
  out["peak_by_tag"] = profile.peak_by_tag;
  out["peak"] = moment_json(profile.peak);
  out["timeline"] = list_of(profile.timeline, moment_json);
  out["at_peak"] = list_of(profile.at_peak, holder_json);
  out["at_end"] = list_of(profile.at_end, holder_json);
  out["unfreed"] = list_of(profile.unfreed, block_json);
  out["stacks"] = list_of(profile.stacks, [](const StackTrace& stack) { return list_of(stack, frame_json); });
  out["sizes"] = profile.sizes;
  out["lifetimes"] = profile.lifetimes;
  if (profile.fragmentation) out["fragmentation"] = fragmentation_json(*profile.fragmentation);
  if (profile.allocate_latency) out["allocate_latency"] = latency_json(*profile.allocate_latency);
  if (profile.free_latency) out["free_latency"] = latency_json(*profile.free_latency);
  out["patterns"] = list_of(profile.patterns, pattern_json);
  out["advice"] = list_of(profile.advice, [](const PeakAdvice& advice) {
    return Json{{"bytes", advice.bytes}, {"text", advice.text}};
  });
  out["arenas"] = list_of(profile.arenas, arena_json);
  return detail::dump(out);
}

}  // namespace lobit
