// to_html(ModelReport): totals, where the bytes lie, metadata, every tensor.
#include <map>
#include <utility>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/report/html.h"
#include "lobit/report/layer_chart.h"
#include "lobit/report/model_report.h"
#include "lobit/report/model_tables.h"
#include "lobit/report/number.h"
#include "lobit/report/ranking.h"

namespace lobit {
namespace {

uint64_t file_bytes(const ModelReport& report) {
  uint64_t bytes = 0;
  for (const ModelFile& part : report.parts) bytes += part.bytes;
  return bytes;
}

std::vector<Card> cards_of(const ModelReport& report) {
  const detail::TensorSum sum = detail::sum_of(report);
  std::string format_note = report.version.empty() ? std::string() : "version " + report.version;
  if (report.alignment > 0) {
    format_note += fmt::format("{}alignment {}", format_note.empty() ? "" : ", ", report.alignment);
  }
  return {{"Format", report.format, format_note},
          {"Tensors", format_count(sum.tensors), format_counted(sum.elements, "element")},
          {"Bits per weight", format_fixed(sum.bits_per_weight(), 2), "scales included"},
          {"Tensor data", format_bytes(sum.bytes), format_count(sum.bytes) + " bytes"},
          {report.parts.size() == 1 ? "File" : "Files", format_bytes(file_bytes(report)),
           format_counted(report.parts.size(), "file")}};
}

BarChart bytes_by_role(const ModelReport& report) {
  std::map<std::string, double> sums;
  for (const ModelTensor& tensor : report.tensors) sums[tensor.role] += static_cast<double>(tensor.bytes);
  BarChart chart{.title = "Bytes by role", .series = {{.name = "bytes"}}, .unit = ChartUnit::kBytes};
  for (const auto& [role, bytes] : detail::largest_first(sums, [](double sum) { return sum; })) {
    chart.categories.push_back(role);
    chart.series[0].values.push_back(bytes);
  }
  return chart;
}

BarChart bytes_by_layer(const ModelReport& report, const detail::LayerSpan& span) {
  std::map<std::string, std::vector<double>> roles;
  for (const ModelTensor& tensor : report.tensors) {
    if (!span.contains(tensor.layer)) continue;
    std::vector<double>& layers = roles[tensor.role];
    layers.resize(span.count);
    layers[span.index(tensor.layer)] += static_cast<double>(tensor.bytes);
  }
  BarChart chart = detail::empty_layer_chart("Bytes by layer", span);
  chart.arrangement = BarChart::Arrangement::kStacked;
  for (const auto& [role, values] : roles) chart.series.push_back({.name = role, .values = values});
  return chart;
}

}  // namespace

std::string to_html(const ModelReport& report) {
  HtmlPage page("Model report", report.path);
  page.add_cards(cards_of(report));
  std::vector<int64_t> layers;
  layers.reserve(report.tensors.size());
  for (const ModelTensor& tensor : report.tensors) layers.push_back(tensor.layer);
  const detail::LayerSpan span = detail::layer_span(layers);
  page.add_section("Size");
  page.add_table("Encodings", detail::model_encodings_table(report));
  page.add_chart(bytes_by_role(report));
  if (span.count > 0) page.add_chart(bytes_by_layer(report, span));
  page.add_section("Tensors");
  page.add_table("All tensors", detail::model_tensors_table(report));
  if (const Table statistics = detail::statistics_table(report); !statistics.rows().empty()) {
    page.add_section("Values");
    page.add_table("Statistics of the values", statistics);
  }
  if (!report.metadata.empty()) {
    page.add_section("Metadata");
    page.add_table("Metadata", detail::metadata_table(report));
  }
  if (report.parts.size() > 1) {
    page.add_section("Files");
    Table table({{"file"}, {"bytes", Align::kRight}});
    for (const ModelFile& part : report.parts) table.add_row({text_cell(part.name), bytes_cell(part.bytes)});
    page.add_table("Files of the model", table);
  }
  page.set_data(to_json(report));
  return page.to_string();
}

}  // namespace lobit
