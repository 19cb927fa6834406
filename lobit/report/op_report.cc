#include "lobit/report/op_report.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lobit/report/json_values.h"
#include "lobit/report/number.h"
#include "lobit/report/table.h"

namespace lobit {
namespace {

using detail::Json;

constexpr size_t kLongestCalls = 20;

// Bytes in a nanosecond are GB in a second, and operations in it GFLOP/s.
std::optional<double> per_nanosecond(uint64_t count, uint64_t nanoseconds) {
  if (count == 0 || nanoseconds == 0) return std::nullopt;
  return static_cast<double>(count) / static_cast<double>(nanoseconds);
}

// How much of the memory's rate a call used.
std::optional<double> share_of_limit(const OpReport& report, std::optional<double> rate, size_t threads) {
  if (!report.limit || !rate) return std::nullopt;
  const double limit = threads > 1 ? report.limit->read_all : report.limit->read_one;
  if (limit <= 0) return std::nullopt;
  return *rate / limit;
}

Cell share_cell(std::optional<double> share) {
  return share ? Cell{.text = format_fixed(100 * *share, 0) + " %", .value = share} : Cell{};
}

uint64_t total_time(const OpProfile& profile) {
  uint64_t sum = 0;
  for (const OpTotals& totals : profile.totals) sum += totals.duration_ns;
  return sum;
}

Cell time_cell(uint64_t nanoseconds) {
  return {.text = format_nanoseconds(static_cast<double>(nanoseconds)),
          .value = static_cast<double>(nanoseconds)};
}

// "[8, 64] f32, [64] q8_0 -> [8] f32"
std::string operands_text(const OpRecord& call) {
  std::string out;
  for (size_t i = 0; i < call.input_count; ++i) {
    out += fmt::format("{}{} {}", i == 0 ? "" : ", ", call.inputs[i].shape.to_string(),
                       to_string(call.inputs[i].format));
  }
  return fmt::format("{} -> {} {}", out, call.output.shape.to_string(), to_string(call.output.format));
}

std::vector<Cell> rate_cells(const OpReport& report, uint64_t bytes, uint64_t arithmetic,
                             uint64_t nanoseconds, size_t threads) {
  const std::optional<double> rate = per_nanosecond(bytes, nanoseconds);
  return {bytes_cell(bytes), fixed_cell(rate, 1), share_cell(share_of_limit(report, rate, threads)),
          fixed_cell(per_nanosecond(arithmetic, nanoseconds), 1)};
}

std::string totals_text(const OpReport& report, const TextOptions& options) {
  Table table({{"operation"},
               {"formats"},
               {"calls", Align::kRight},
               {"time", Align::kRight},
               {"of all", Align::kRight},
               {"bytes", Align::kRight},
               {"GB/s", Align::kRight},
               {"of memory's", Align::kRight},
               {"GFLOP/s", Align::kRight}});
  const auto all = static_cast<double>(total_time(report.profile));
  for (const OpTotals& totals : report.profile.totals) {
    std::vector<Cell> row{text_cell(totals.op), text_cell(totals.formats), count_cell(totals.calls),
                          time_cell(totals.duration_ns),
                          percent_cell(static_cast<double>(totals.duration_ns), all)};
    std::ranges::move(rate_cells(report, totals.bytes_read + totals.bytes_written, totals.arithmetic,
                                 totals.duration_ns, totals.threads),
                      std::back_inserter(row));
    table.add_row(std::move(row));
  }
  return table.to_text(options.width);
}

std::string calls_text(const OpReport& report, const TextOptions& options) {
  std::vector<const OpRecord*> calls;
  for (const OpRecord& call : report.profile.calls) calls.push_back(&call);
  const size_t shown = std::min(kLongestCalls, calls.size());
  std::partial_sort(calls.begin(), calls.begin() + static_cast<ptrdiff_t>(shown), calls.end(),
                    [](const OpRecord* a, const OpRecord* b) { return a->duration_ns > b->duration_ns; });
  calls.resize(shown);
  Table table({{"longest calls"},
               {"operands", Align::kLeft, 60},
               {"time", Align::kRight},
               {"bytes", Align::kRight},
               {"GB/s", Align::kRight},
               {"of memory's", Align::kRight},
               {"GFLOP/s", Align::kRight}});
  for (const OpRecord* call : calls) {
    std::vector<Cell> row{text_cell(std::string(call->op)), text_cell(operands_text(*call)),
                          time_cell(call->duration_ns)};
    std::ranges::move(rate_cells(report, call->bytes_read + call->bytes_written, call->arithmetic,
                                 call->duration_ns, call->threads),
                      std::back_inserter(row));
    table.add_row(std::move(row));
  }
  return table.to_text(options.width);
}

Json operand_json(const OpOperand& operand) {
  return {{"shape", operand.shape.extents()}, {"format", to_string(operand.format)}};
}

// What totals and calls have in common. Rates that nothing was measured for have no key.
void add_rates(Json& out, const OpReport& report, uint64_t bytes, uint64_t arithmetic, uint64_t nanoseconds,
               size_t threads) {
  const std::optional<double> rate = per_nanosecond(bytes, nanoseconds);
  detail::set_if(out, "gb_per_s", rate);
  detail::set_if(out, "share_of_memory_rate", share_of_limit(report, rate, threads));
  detail::set_if(out, "gflop_per_s", per_nanosecond(arithmetic, nanoseconds));
}

Json totals_json(const OpReport& report, const OpTotals& totals) {
  Json out = {{"op", totals.op},
              {"formats", totals.formats},
              {"calls", totals.calls},
              {"duration_ns", totals.duration_ns},
              {"longest_ns", totals.longest_ns},
              {"bytes_read", totals.bytes_read},
              {"bytes_written", totals.bytes_written},
              {"arithmetic", totals.arithmetic},
              {"threads", totals.threads}};
  add_rates(out, report, totals.bytes_read + totals.bytes_written, totals.arithmetic, totals.duration_ns,
            totals.threads);
  return out;
}

// What a call was about, for JSON and for the trace.
Json call_json(const OpReport& report, const OpRecord& call) {
  Json out = {{"inputs", Json::array()},       {"output", operand_json(call.output)},
              {"bytes_read", call.bytes_read}, {"bytes_written", call.bytes_written},
              {"arithmetic", call.arithmetic}, {"threads", call.threads}};
  for (size_t i = 0; i < call.input_count; ++i) out["inputs"].push_back(operand_json(call.inputs[i]));
  add_rates(out, report, call.bytes_read + call.bytes_written, call.arithmetic, call.duration_ns,
            call.threads);
  return out;
}

}  // namespace

std::string to_text(const OpReport& report, const TextOptions& options) {
  if (report.profile.totals.empty()) return "no operation ran\n";
  std::string out = totals_text(report, options);
  if (options.detail == ReportDetail::kTensors) out += "\n" + calls_text(report, options);
  if (report.profile.calls_left_out > 0) {
    out += fmt::format("\n{} later than those that were kept: in the totals alone\n",
                       format_counted(report.profile.calls_left_out, "call"));
  }
  return out;
}

std::string to_json(const OpReport& report) {
  Json out = {{"schema", "lobit.ops.v1"}};
  if (report.limit) {
    out["memory_read_gb_per_s"] = {{"one_thread", report.limit->read_one},
                                   {"all_threads", report.limit->read_all},
                                   {"threads", report.limit->threads}};
  }
  out["totals"] = Json::array();
  for (const OpTotals& totals : report.profile.totals) out["totals"].push_back(totals_json(report, totals));
  out["calls"] = Json::array();
  for (const OpRecord& call : report.profile.calls) {
    Json one = {{"op", call.op}, {"start_ns", call.start_ns}, {"duration_ns", call.duration_ns}};
    one.update(call_json(report, call));
    out["calls"].push_back(std::move(one));
  }
  out["calls_left_out"] = report.profile.calls_left_out;
  return detail::dump(out);
}

std::string to_perfetto(const OpReport& report) {
  constexpr int kProcess = 1;
  Json events = Json::array();
  events.push_back(
      {{"name", "process_name"}, {"ph", "M"}, {"pid", kProcess}, {"args", {{"name", "operations"}}}});
  for (const OpRecord& call : report.profile.calls) {
    events.push_back({{"name", call.op},
                      {"ph", "X"},
                      {"pid", kProcess},
                      {"tid", 0},
                      {"ts", static_cast<double>(call.start_ns) / 1000},
                      {"dur", static_cast<double>(call.duration_ns) / 1000},
                      {"args", call_json(report, call)}});
  }
  return detail::dump({{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}});
}

}  // namespace lobit
