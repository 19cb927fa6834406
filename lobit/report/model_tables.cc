#include "lobit/report/model_tables.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lobit/report/number.h"
#include "lobit/report/ranking.h"

namespace lobit::detail {
namespace {

constexpr size_t kNameWidth = 56;
constexpr size_t kValueWidth = 72;

Cell percent_of(uint64_t part, uint64_t whole) {
  return percent_cell(static_cast<double>(part), static_cast<double>(whole));
}

Cell offset_cell(const ModelTensor& tensor) {
  return {.text = fmt::format("{}", tensor.offset), .value = static_cast<double>(tensor.offset)};
}

// The part that a tensor lies in, for models of several files.
Cell part_cell(const ModelReport& report, const ModelTensor& tensor) {
  const bool known = tensor.part < report.parts.size();
  return text_cell(known ? report.parts[tensor.part].name : fmt::format("part {}", tensor.part));
}

std::vector<Cell> group_row(int64_t layer, const TensorSum& sum, const TensorSum& all, size_t columns) {
  std::vector<Cell> cells{text_cell(layer < 0 ? "outside the layers" : fmt::format("layer {}", layer)),
                          text_cell(format_counted(sum.tensors, "tensor")), text_cell(""),
                          bytes_cell(sum.bytes), percent_of(sum.bytes, all.bytes)};
  cells.resize(columns);
  return cells;
}

}  // namespace

void TensorSum::add(const ModelTensor& tensor) {
  ++tensors;
  elements += tensor.elements;
  bytes += tensor.bytes;
}

double TensorSum::bits_per_weight() const {
  return elements == 0 ? 0 : 8 * static_cast<double>(bytes) / static_cast<double>(elements);
}

TensorSum sum_of(const ModelReport& report) {
  TensorSum sum;
  for (const ModelTensor& tensor : report.tensors) sum.add(tensor);
  return sum;
}

Table model_encodings_table(const ModelReport& report) {
  std::map<std::string, TensorSum> sums;
  for (const ModelTensor& tensor : report.tensors) sums[tensor.encoding].add(tensor);
  auto rows = largest_first(sums, [](const TensorSum& sum) { return sum.bytes; });
  rows.emplace_back("all", sum_of(report));
  Table table({{"encoding"},
               {"tensors", Align::kRight},
               {"elements", Align::kRight},
               {"bytes", Align::kRight},
               {"share", Align::kRight},
               {"bits/weight", Align::kRight}});
  const uint64_t all = rows.back().second.bytes;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& [encoding, sum] = rows[i];
    std::vector<Cell> cells{text_cell(encoding),        count_cell(sum.tensors),
                            count_cell(sum.elements),   bytes_cell(sum.bytes),
                            percent_of(sum.bytes, all), fixed_cell(sum.bits_per_weight(), 2)};
    if (i + 1 < rows.size()) {
      table.add_row(std::move(cells));
    } else {
      table.add_footer(std::move(cells));
    }
  }
  return table;
}

Table layers_table(const ModelReport& report, ReportDetail detail) {
  std::map<int64_t, std::vector<const ModelTensor*>> layers;
  for (const ModelTensor& tensor : report.tensors) {
    layers[std::max<int64_t>(tensor.layer, -1)].push_back(&tensor);
  }
  const TensorSum all = sum_of(report);
  const bool every_tensor = detail == ReportDetail::kTensors;
  const bool several_parts = report.parts.size() > 1;
  std::vector<Column> columns{{"tensor", Align::kLeft, kNameWidth},
                              {every_tensor ? "encoding" : "tensors"},
                              {every_tensor ? "shape" : "", Align::kRight},
                              {"bytes", Align::kRight},
                              {"share", Align::kRight}};
  if (every_tensor) columns.push_back({"offset", Align::kRight});
  if (every_tensor && several_parts) columns.push_back({"file", Align::kLeft, kNameWidth});
  const size_t count = columns.size();
  if (!every_tensor) columns[0].title = "layer";
  Table table(std::move(columns));
  for (const auto& [layer, tensors] : layers) {
    TensorSum sum;
    for (const ModelTensor* tensor : tensors) sum.add(*tensor);
    table.add_group(group_row(layer, sum, all, count));
    if (!every_tensor) continue;
    for (const ModelTensor* tensor : tensors) {
      std::vector<Cell> cells{
          text_cell(tensor->name),   text_cell(tensor->encoding),          text_cell(tensor->shape),
          bytes_cell(tensor->bytes), percent_of(tensor->bytes, all.bytes), offset_cell(*tensor)};
      if (several_parts) cells.push_back(part_cell(report, *tensor));
      table.add_row(std::move(cells));
    }
  }
  return table;
}

Table model_tensors_table(const ModelReport& report) {
  const bool several_parts = report.parts.size() > 1;
  std::vector<Column> columns{{"tensor"},
                              {"role"},
                              {"layer", Align::kRight},
                              {"encoding"},
                              {"shape", Align::kRight},
                              {"bytes", Align::kRight},
                              {"share", Align::kRight},
                              {"offset", Align::kRight}};
  if (several_parts) columns.push_back({"file"});
  Table table(std::move(columns));
  const uint64_t all = sum_of(report).bytes;
  for (const ModelTensor& tensor : report.tensors) {
    Cell layer;
    if (tensor.layer >= 0) layer = {fmt::format("{}", tensor.layer), static_cast<double>(tensor.layer)};
    std::vector<Cell> cells{text_cell(tensor.name),
                            text_cell(tensor.role),
                            std::move(layer),
                            text_cell(tensor.encoding),
                            {.text = tensor.shape, .value = static_cast<double>(tensor.elements)},
                            bytes_cell(tensor.bytes),
                            percent_of(tensor.bytes, all),
                            offset_cell(tensor)};
    if (several_parts) cells.push_back(part_cell(report, tensor));
    table.add_row(std::move(cells));
  }
  return table;
}

Table statistics_table(const ModelReport& report) {
  Table table({{"tensor", Align::kLeft, kNameWidth},
               {"min", Align::kRight},
               {"max", Align::kRight},
               {"mean", Align::kRight},
               {"std", Align::kRight},
               {"zeros", Align::kRight},
               {"NaN", Align::kRight},
               {"infinite", Align::kRight}});
  for (const ModelTensor& tensor : report.tensors) {
    if (!tensor.statistics) continue;
    const TensorStatistics& s = *tensor.statistics;
    table.add_row({text_cell(tensor.name), short_cell(s.min), short_cell(s.max), short_cell(s.mean),
                   short_cell(s.standard_deviation), percent_of(s.zeros, tensor.elements), count_cell(s.nans),
                   count_cell(s.infinities)});
  }
  return table;
}

Table metadata_table(const ModelReport& report) {
  Table table({{"key", Align::kLeft, kNameWidth}, {"type"}, {"value", Align::kLeft, kValueWidth}});
  for (const MetadataItem& item : report.metadata) {
    table.add_row({text_cell(item.key), text_cell(item.type), text_cell(item.text)});
  }
  return table;
}

}  // namespace lobit::detail
