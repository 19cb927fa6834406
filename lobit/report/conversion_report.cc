#include "lobit/report/conversion_report.h"

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/report/conversion_tables.h"
#include "lobit/report/json_values.h"
#include "lobit/report/number.h"
#include "lobit/report/ranking.h"
#include "lobit/report/text.h"

namespace lobit {
namespace {

using detail::Json;

constexpr size_t kWorstShown = 5;

double bits_per_weight(uint64_t bytes, uint64_t elements) {
  return elements == 0 ? 0 : 8 * static_cast<double>(bytes) / static_cast<double>(elements);
}

Json tensor_json(const TensorReport& tensor) {
  Json out = {{"name", tensor.name},
              {"role", tensor.role},
              {"layer", tensor.layer},
              {"shape", tensor.shape},
              {"from", tensor.from},
              {"to", tensor.to},
              {"method", tensor.method},
              {"elements", tensor.elements},
              {"bytes_in", tensor.bytes_in},
              {"bytes_out", tensor.bytes_out},
              {"fallback", tensor.fallback},
              {"note", tensor.note},
              {"flushed_groups", tensor.flushed_groups}};
  detail::set_if(out, "sqnr_db", tensor.sqnr_db);
  detail::set_if(out, "cosine", tensor.cosine);
  detail::set_if(out, "nmse", tensor.nmse);
  detail::set_if(out, "max_abs_error", tensor.max_abs_error);
  return out;
}

Json totals_json(const ConversionReport& report) {
  const ConversionTotals sum = totals(report);
  Json out = {{"tensors", sum.tensors},
              {"converted", sum.converted},
              {"fallbacks", sum.fallbacks},
              {"flushed_groups", sum.flushed_groups},
              {"elements", sum.elements},
              {"bytes_in", sum.bytes_in},
              {"bytes_out", sum.bytes_out},
              {"bits_per_weight_in", sum.bits_per_weight_in()},
              {"bits_per_weight_out", sum.bits_per_weight_out()},
              {"file_bytes_in", report.file_bytes_in},
              {"file_bytes_out", report.file_bytes_out}};
  detail::set_if(out, "sqnr_db", report.sqnr_db);
  detail::set_if(out, "cosine", report.cosine);
  return out;
}

void add_fact(std::string& out, std::string_view label, std::string_view value) {
  out += fmt::format("  {:<12} {}\n", label, value);
}

std::string size_text(const ConversionReport& report) {
  std::string out =
      fmt::format("{} -> {}", format_bytes(report.file_bytes_in), format_bytes(report.file_bytes_out));
  if (report.file_bytes_in > 0) {
    out += fmt::format(" ({})", format_percent(static_cast<double>(report.file_bytes_out),
                                               static_cast<double>(report.file_bytes_in)));
  }
  return out;
}

std::string facts_text(const ConversionReport& report, const ConversionTotals& sum) {
  std::string out;
  add_fact(out, "tensors",
           fmt::format("{}: {} converted, {} copied", format_count(sum.tensors), format_count(sum.converted),
                       format_count(sum.tensors - sum.converted)));
  add_fact(out, "elements", format_count(sum.elements));
  add_fact(out, "file", size_text(report));
  add_fact(out, "bits/weight",
           fmt::format("{:.2f} -> {:.2f}", sum.bits_per_weight_in(), sum.bits_per_weight_out()));
  if (const std::string methods = detail::methods_text(report); !methods.empty()) {
    add_fact(out, "method", methods);
  }
  if (report.threads > 0) {  // a dry run has neither threads nor time
    add_fact(out, "time",
             fmt::format("{}, reading {}, {}", format_duration(report.seconds),
                         format_rate(static_cast<double>(report.file_bytes_in), report.seconds),
                         format_counted(report.threads, "thread")));
  }
  const std::string memory = detail::memory_text(report);
  if (!memory.empty()) add_fact(out, "memory", memory);
  if (report.sqnr_db) add_fact(out, "SQNR", format_fixed(*report.sqnr_db, 2) + " dB");
  if (report.cosine) add_fact(out, "cosine", format_fixed(*report.cosine, 6));
  if (!report.output_hash.empty()) add_fact(out, "hash", printable(report.output_hash));
  return out;
}

}  // namespace

double ConversionTotals::bits_per_weight_in() const {
  return bits_per_weight(bytes_in, elements);
}
double ConversionTotals::bits_per_weight_out() const {
  return bits_per_weight(bytes_out, elements);
}

ConversionTotals totals(const ConversionReport& report) {
  ConversionTotals sum;
  sum.tensors = report.tensors.size();
  for (const TensorReport& tensor : report.tensors) {
    sum.converted += tensor.from == tensor.to ? 0U : 1U;
    sum.fallbacks += tensor.fallback ? 1U : 0U;
    sum.flushed_groups += tensor.flushed_groups;
    sum.elements += tensor.elements;
    sum.bytes_in += tensor.bytes_in;
    sum.bytes_out += tensor.bytes_out;
  }
  return sum;
}

std::vector<const TensorReport*> worst_tensors(const ConversionReport& report, size_t count) {
  return detail::lowest_sqnr(report.tensors, count);
}

std::string to_text(const ConversionReport& report, const TextOptions& options) {
  const ConversionTotals sum = totals(report);
  std::string out =
      fmt::format("{} ({}) -> {} ({})\n", printable(report.source), printable(report.source_format),
                  printable(report.target), printable(report.target_format));
  out += facts_text(report, sum) + "\n" + detail::encodings_table(report).to_text(options.width);
  if (const Table worst = detail::worst_table(report, kWorstShown); !worst.rows().empty()) {
    out += "\nLowest SQNR\n" + worst.to_text(options.width);
  }
  if (sum.fallbacks > 0) out += "\nFallbacks\n" + detail::fallbacks_table(report).to_text(options.width);
  if (sum.flushed_groups > 0) {
    out += fmt::format("\n{}\n", detail::flushed_text(report));
  }
  if (options.detail == ReportDetail::kTensors) {
    out += "\nTensors\n" + detail::tensors_table(report).to_text(options.width);
  }
  return out;
}

std::string to_json(const ConversionReport& report) {
  Json out = {{"schema", "lobit.convert.v1"},
              {"source", report.source},
              {"target", report.target},
              {"source_format", report.source_format},
              {"target_format", report.target_format},
              {"command", report.command},
              {"seconds", report.seconds},
              {"threads", report.threads}};
  if (report.memory_limit > 0) out["memory_limit"] = report.memory_limit;
  if (report.peak_rss > 0) out["peak_rss"] = report.peak_rss;
  if (!report.output_hash.empty()) out["output_hash"] = report.output_hash;
  out["totals"] = totals_json(report);
  out["tensors"] = Json::array();
  for (const TensorReport& tensor : report.tensors) out["tensors"].push_back(tensor_json(tensor));
  return detail::dump(out);
}

}  // namespace lobit
