// to_html(ConversionReport): totals, where the bytes went, where the errors are, every tensor.
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/report/conversion_report.h"
#include "lobit/report/conversion_tables.h"
#include "lobit/report/html.h"
#include "lobit/report/layer_chart.h"
#include "lobit/report/number.h"
#include "lobit/report/ranking.h"

namespace lobit {
namespace {

constexpr size_t kWorstShown = 10;

std::vector<Card> cards_of(const ConversionReport& report, const ConversionTotals& sum) {
  const auto in = static_cast<double>(report.file_bytes_in);
  const auto out = static_cast<double>(report.file_bytes_out);
  std::vector<Card> cards{
      {"Output", format_bytes(report.file_bytes_out),
       fmt::format("{} of {}", format_percent(out, in), format_bytes(report.file_bytes_in))},
      {"Bits per weight", format_fixed(sum.bits_per_weight_out(), 2),
       fmt::format("from {}, scales included", format_fixed(sum.bits_per_weight_in(), 2))},
      {"Tensors", format_count(sum.tensors),
       fmt::format("{} converted, {}", format_count(sum.converted),
                   format_counted(sum.fallbacks, "fallback"))},
      {"Time", format_duration(report.seconds),
       fmt::format("reading {}, {}", format_rate(in, report.seconds),
                   format_counted(report.threads, "thread"))}};
  if (report.peak_rss > 0) {
    cards.push_back(
        {"Peak memory", format_bytes(report.peak_rss),
         report.memory_limit > 0 ? "limit " + format_bytes(report.memory_limit) : "no limit set"});
  }
  if (report.sqnr_db) {
    cards.push_back({"SQNR", format_fixed(*report.sqnr_db, 1) + " dB",
                     report.cosine ? "cosine " + format_fixed(*report.cosine, 6) : ""});
  }
  return cards;
}

BarChart bytes_by_role(const ConversionReport& report) {
  std::map<std::string, std::pair<double, double>> sums;
  for (const TensorReport& tensor : report.tensors) {
    auto& [in, out] = sums[tensor.role];
    in += static_cast<double>(tensor.bytes_in);
    out += static_cast<double>(tensor.bytes_out);
  }
  BarChart chart{.title = "Bytes by role",
                 .note = "Tensor data before and after the conversion",
                 .series = {{.name = "before", .values = {}, .muted = true}, {.name = "after"}},
                 .unit = ChartUnit::kBytes};
  for (const auto& [role, bytes] : detail::largest_first(sums, [](const auto& pair) { return pair.first; })) {
    chart.categories.push_back(role);
    chart.series[0].values.push_back(bytes.first);
    chart.series[1].values.push_back(bytes.second);
  }
  return chart;
}

// -10 log10 of the mean NMSE of a role's tensors in one layer, weighted by their elements.
struct MeanError {
  double weighted_nmse = 0;
  double elements = 0;
  double sqnr_db() const { return elements > 0 ? -10 * std::log10(weighted_nmse / elements) : std::nan(""); }
};

std::optional<double> nmse_of(const TensorReport& tensor) {
  if (tensor.nmse) return tensor.nmse;
  if (tensor.sqnr_db) return std::pow(10, -*tensor.sqnr_db / 10);
  return std::nullopt;
}

LineChart sqnr_by_layer(const ConversionReport& report, const detail::LayerSpan& span) {
  std::map<std::string, std::vector<MeanError>> roles;
  for (const TensorReport& tensor : report.tensors) {
    const std::optional<double> nmse = nmse_of(tensor);
    // A tensor without error has no place on a scale of decibels.
    if (!span.contains(tensor.layer) || !nmse || !(*nmse > 0)) continue;
    std::vector<MeanError>& layers = roles[tensor.role];
    layers.resize(span.count);
    MeanError& mean = layers[span.index(tensor.layer)];
    mean.weighted_nmse += *nmse * static_cast<double>(tensor.elements);
    mean.elements += static_cast<double>(tensor.elements);
  }
  LineChart chart{.title = "SQNR by layer",
                  .note =
                      "Signal over quantization error, higher is better; mean over the tensors of a role, "
                      "exact tensors left out",
                  .index_title = "layer",
                  .first_index = span.first,
                  .unit = ChartUnit::kDecibels};
  for (const auto& [role, layers] : roles) {
    ChartSeries series{.name = role};
    for (const MeanError& mean : layers) series.values.push_back(mean.sqnr_db());
    chart.series.push_back(std::move(series));
  }
  return chart;
}

BarChart bytes_by_layer(const ConversionReport& report, const detail::LayerSpan& span) {
  BarChart chart = detail::empty_layer_chart("Bytes by layer", span);
  chart.note = "Tensor data before and after the conversion";
  chart.series = {{.name = "before", .values = std::vector<double>(span.count), .muted = true},
                  {.name = "after", .values = std::vector<double>(span.count)}};
  for (const TensorReport& tensor : report.tensors) {
    if (!span.contains(tensor.layer)) continue;
    chart.series[0].values[span.index(tensor.layer)] += static_cast<double>(tensor.bytes_in);
    chart.series[1].values[span.index(tensor.layer)] += static_cast<double>(tensor.bytes_out);
  }
  return chart;
}

void add_errors(HtmlPage& page, const ConversionReport& report, const detail::LayerSpan& span) {
  const Table worst = detail::worst_table(report, kWorstShown);
  if (worst.rows().empty()) return;
  page.add_section("Error");
  if (const LineChart chart = sqnr_by_layer(report, span); !chart.series.empty()) page.add_chart(chart);
  page.add_table("Tensors with the lowest SQNR", worst);
}

std::vector<Fact> facts_of(const ConversionReport& report) {
  std::vector<Fact> facts{{"Source", fmt::format("{} ({})", report.source, report.source_format)},
                          {"Output", fmt::format("{} ({})", report.target, report.target_format)}};
  if (const std::string memory = detail::memory_text(report); !memory.empty())
    facts.push_back({"Memory", memory});
  if (const std::string methods = detail::methods_text(report); !methods.empty())
    facts.push_back({"Method", methods});
  if (!report.output_hash.empty()) facts.push_back({"Hash of the output", report.output_hash});
  return facts;
}

}  // namespace

std::string to_html(const ConversionReport& report) {
  const ConversionTotals sum = totals(report);
  HtmlPage page("Conversion report", fmt::format("{} → {}", report.source, report.target));
  page.add_cards(cards_of(report, sum));

  std::vector<int64_t> layers;
  layers.reserve(report.tensors.size());
  for (const TensorReport& tensor : report.tensors) layers.push_back(tensor.layer);
  const detail::LayerSpan span = detail::layer_span(layers);
  page.add_section("Size");
  page.add_table("Encodings before and after", detail::encodings_table(report));
  page.add_chart(bytes_by_role(report));
  if (span.count > 0) page.add_chart(bytes_by_layer(report, span));
  add_errors(page, report, span);

  if (sum.fallbacks > 0) {
    page.add_section("Fallbacks");
    page.add_paragraph(
        "The rows of these tensors do not fill whole blocks of the encoding that was asked for, so they got "
        "another one. The table of all tensors notes each of them.");
    page.add_table("Tensors that fell back to another encoding", detail::fallbacks_table(report));
  }
  page.add_section("Tensors");
  if (sum.flushed_groups > 0) page.add_paragraph(detail::flushed_text(report) + ".");
  page.add_table("All tensors", detail::tensors_table(report));
  page.add_section("Run");
  page.add_facts(facts_of(report));
  if (!report.command.empty()) page.add_code(report.command);
  page.set_data(to_json(report));
  return page.to_string();
}

}  // namespace lobit
