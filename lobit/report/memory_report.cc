// to_text(MemoryProfile), and reports in files.
#include "lobit/report/memory_report.h"

#include <algorithm>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/io/file.h"
#include "lobit/report/memory_tables.h"
#include "lobit/report/number.h"
#include "lobit/report/text.h"

namespace lobit {
namespace {

constexpr size_t kMostShown = 20;  // rows of a table in a summary

std::string line(std::string_view label, std::string_view text) {
  return fmt::format("  {:<14} {}\n", label, text);
}

// Breaks at blanks before `width` columns (0: never); lines after the first start with `indent` blanks.
std::string wrapped(std::string_view text, size_t indent, size_t width) {
  std::string out;
  size_t used = indent;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string_view word = text.substr(at, end - at);
    const size_t columns = display_width(word);
    const bool breaks = width > 0 && used > indent && used + 1 + columns > width;
    if (breaks) {
      out += "\n" + std::string(indent, ' ');
      used = indent;
    } else if (used > indent) {
      out += ' ';
      ++used;
    }
    out += word;
    used += columns;
    at = end + 1;
  }
  return out;
}

std::string peak_text(const MemoryProfile& profile) {
  std::string out = fmt::format("{} at {}", format_bytes(profile.peak.live_bytes),
                                format_nanoseconds(static_cast<double>(profile.peak.time_ns)));
  if (profile.limit) {
    out += fmt::format(
        ", {} of the limit of {}",
        format_percent(static_cast<double>(profile.peak.live_bytes), static_cast<double>(*profile.limit)),
        format_bytes(*profile.limit));
  }
  return out;
}

std::string fragmentation_text(const MemoryFragmentation& parts) {
  const double unused = static_cast<double>(parts.rounding) + static_cast<double>(parts.free);
  return fmt::format("{}: {} committed = {} requested + {} rounding + {} free",
                     format_percent(unused, static_cast<double>(parts.committed)),
                     format_bytes(parts.committed), format_bytes(parts.requested),
                     format_bytes(parts.rounding), format_bytes(parts.free));
}

std::string totals_text(const MemoryProfile& profile) {
  std::string out = line("allocations", detail::allocations_text(profile));
  out += line("freed", detail::frees_text(profile));
  if (profile.refused > 0) out += line("refused", format_counted(profile.refused, "allocation"));
  out += line("current", fmt::format("{} in {}", format_bytes(profile.live_bytes),
                                     format_counted(profile.live_blocks, "block")));
  out += line("peak", peak_text(profile));
  if (profile.peak_committed > 0) out += line("committed", "at most " + format_bytes(profile.peak_committed));
  if (profile.fragmentation) out += line("fragmentation", fragmentation_text(*profile.fragmentation));
  if (profile.frees > 0)
    out += line("lifetime", format_nanoseconds(profile.mean_lifetime_ns) + " on average");
  if (profile.threads > 0) out += line("threads", format_count(profile.threads));
  if (profile.trims > 0) {
    out += line("trims", fmt::format("{}, which gave back {}", format_count(profile.trims),
                                     format_bytes(profile.trimmed_bytes)));
  }
  return out;
}

// A heading and a table, and how many rows are not in it.
std::string section(std::string_view heading, const Table& table, size_t all, const TextOptions& options) {
  if (table.rows().empty()) return {};
  std::string out = fmt::format("\n{}\n{}", heading, table.to_text(options.width));
  if (all > table.rows().size()) {
    out += fmt::format("and {} more\n", format_count(all - table.rows().size()));
  }
  return out;
}

std::string sentence(const std::string& text) {
  return printable(text) + (text.ends_with('.') ? "" : ".");
}

std::string patterns_text(const MemoryProfile& profile, const TextOptions& options) {
  std::string out = profile.patterns.empty() ? "" : "\nPatterns\n";
  for (const MemoryPattern& pattern : profile.patterns) {
    std::string text = fmt::format("{}, {}: {}", detail::pattern_name(pattern.kind),
                                   printable(detail::tag_name(profile, pattern.tag)), sentence(pattern.text));
    if (const StackFrame* frame = detail::caller(profile, pattern.stack); frame != nullptr) {
      text += fmt::format(" Allocated by {} ({}).", printable(detail::function_text(*frame)),
                          printable(detail::place_text(*frame)));
    }
    text += " " + sentence(pattern.advice);
    out += "  - " + wrapped(text, 4, options.width) + "\n";
  }
  return out;
}

std::string advice_text(const MemoryProfile& profile, const TextOptions& options) {
  std::string out = profile.advice.empty() ? "" : "\nWhat would lower the peak\n";
  for (const PeakAdvice& advice : profile.advice) {
    const std::string text = fmt::format("{}: {}", format_bytes(advice.bytes), printable(advice.text));
    out += "  - " + wrapped(text, 4, options.width) + "\n";
  }
  return out;
}

std::string content_of(const MemoryProfile& profile, MemoryReportFormat format) {
  switch (format) {
    case MemoryReportFormat::kText:
      return to_text(profile, {.detail = ReportDetail::kTensors});
    case MemoryReportFormat::kJson:
      return to_json(profile);
    case MemoryReportFormat::kHtml:
      return to_html(profile);
    case MemoryReportFormat::kPerfetto:
      break;
  }
  return to_perfetto(profile);
}

}  // namespace

std::string to_text(const MemoryProfile& profile, const TextOptions& options) {
  const size_t most = options.detail == ReportDetail::kSummary ? kMostShown : SIZE_MAX;
  std::string out =
      fmt::format("{}memory over {}\n", profile.name.empty() ? "" : printable(profile.name) + ": ",
                  format_nanoseconds(static_cast<double>(profile.duration_ns)));
  out += totals_text(profile);
  if (profile.is_estimate) out += "  Holders and unfreed blocks are estimated from samples.\n";
  out += section("Unfreed blocks", detail::unfreed_table(profile, most), profile.unfreed.size(), options);
  out += section("Tags", detail::tags_table(profile), 0, options);
  out += section("Holders at the peak",
                 detail::holders_table(profile, profile.at_peak, profile.peak.live_bytes, most),
                 profile.at_peak.size(), options);
  out +=
      section("Holders at the end", detail::holders_table(profile, profile.at_end, profile.live_bytes, most),
              profile.at_end.size(), options);
  out += section("Calls", detail::latency_table(profile), 0, options);
  return out + patterns_text(profile, options) + advice_text(profile, options);
}

Status write_memory_report(const MemoryProfile& profile, const std::filesystem::path& path,
                           MemoryReportFormat format) {
  const std::string content = content_of(profile, format);
  return write_file(path, std::as_bytes(std::span(content)));
}

}  // namespace lobit
