#include "lobit/report/conversion_tables.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/report/number.h"
#include "lobit/report/ranking.h"

namespace lobit::detail {
namespace {

constexpr size_t kNameWidth = 48;
constexpr size_t kNoteWidth = 48;

Cell bits_cell(const ConversionTotals& sum) {
  return fixed_cell(sum.bits_per_weight_out(), 2);
}

std::vector<Cell> encodings_row(std::string from, std::string to, const ConversionTotals& sum) {
  return {text_cell(std::move(from)),
          text_cell(std::move(to)),
          count_cell(sum.tensors),
          count_cell(sum.elements),
          bytes_cell(sum.bytes_in),
          bytes_cell(sum.bytes_out),
          bits_cell(sum)};
}

Cell layer_cell(int64_t layer) {
  if (layer < 0) return {};
  return {.text = fmt::format("{}", layer), .value = static_cast<double>(layer)};
}

bool is_measured(const ConversionReport& report) {
  return std::any_of(report.tensors.begin(), report.tensors.end(), [](const TensorReport& tensor) {
    return tensor.sqnr_db || tensor.cosine || tensor.nmse || tensor.max_abs_error;
  });
}

}  // namespace

Table encodings_table(const ConversionReport& report) {
  std::map<std::pair<std::string, std::string>, ConversionTotals> sums;
  for (const TensorReport& tensor : report.tensors) {
    ConversionTotals& sum = sums[{tensor.from, tensor.to}];
    ++sum.tensors;
    sum.elements += tensor.elements;
    sum.bytes_in += tensor.bytes_in;
    sum.bytes_out += tensor.bytes_out;
  }
  const auto rows = largest_first(sums, [](const ConversionTotals& sum) { return sum.bytes_in; });
  Table table({{"from"},
               {"to"},
               {"tensors", Align::kRight},
               {"elements", Align::kRight},
               {"bytes in", Align::kRight},
               {"bytes out", Align::kRight},
               {"bits/weight", Align::kRight}});
  for (const auto& [pair, sum] : rows) table.add_row(encodings_row(pair.first, pair.second, sum));
  table.add_footer(encodings_row("all", "", totals(report)));
  return table;
}

Table tensors_table(const ConversionReport& report) {
  std::vector<Column> columns{{"tensor", Align::kLeft, kNameWidth},
                              {"role"},
                              {"layer", Align::kRight},
                              {"shape", Align::kRight},
                              {"from"},
                              {"to"},
                              {"bytes in", Align::kRight},
                              {"bytes out", Align::kRight}};
  const bool measured = is_measured(report);
  if (measured) {
    for (const char* title : {"SQNR dB", "cosine", "NMSE", "max error"}) {
      columns.push_back({title, Align::kRight});
    }
  }
  columns.push_back({"note", Align::kLeft, kNoteWidth});
  Table table(std::move(columns));
  for (const TensorReport& tensor : report.tensors) {
    std::vector<Cell> cells{
        text_cell(tensor.name),      text_cell(tensor.role),
        layer_cell(tensor.layer),    {.text = tensor.shape, .value = static_cast<double>(tensor.elements)},
        text_cell(tensor.from),      text_cell(tensor.to),
        bytes_cell(tensor.bytes_in), bytes_cell(tensor.bytes_out)};
    if (measured) {
      cells.push_back(fixed_cell(tensor.sqnr_db, 2));
      cells.push_back(fixed_cell(tensor.cosine, 6));
      cells.push_back(short_cell(tensor.nmse));
      cells.push_back(short_cell(tensor.max_abs_error));
    }
    cells.push_back(text_cell(tensor.fallback ? "fallback: " + tensor.note : tensor.note));
    table.add_row(std::move(cells));
  }
  return table;
}

Table worst_table(const ConversionReport& report, size_t count) {
  Table table({{"tensor", Align::kLeft, kNameWidth},
               {"to"},
               {"SQNR dB", Align::kRight},
               {"cosine", Align::kRight},
               {"max error", Align::kRight}});
  for (const TensorReport* tensor : worst_tensors(report, count)) {
    table.add_row({text_cell(tensor->name), text_cell(tensor->to), fixed_cell(tensor->sqnr_db, 2),
                   fixed_cell(tensor->cosine, 6), short_cell(tensor->max_abs_error)});
  }
  return table;
}

Table fallbacks_table(const ConversionReport& report) {
  struct Group {
    uint64_t tensors = 0;
    const TensorReport* first = nullptr;
  };
  std::vector<Group> groups;  // in the order of their first tensors
  std::map<std::pair<std::string_view, std::string_view>, size_t> places;
  for (const TensorReport& tensor : report.tensors) {
    if (!tensor.fallback) continue;
    const auto [place, added] = places.try_emplace({tensor.to, tensor.note}, groups.size());
    if (added) groups.push_back({0, &tensor});
    ++groups[place->second].tensors;
  }
  Table table({{"to"},
               {"why", Align::kLeft, kNoteWidth},
               {"tensors", Align::kRight},
               {"the first of them", Align::kLeft, kNameWidth}});
  for (const Group& group : groups) {
    table.add_row({text_cell(group.first->to), text_cell(group.first->note), count_cell(group.tensors),
                   text_cell(group.first->name)});
  }
  return table;
}

std::string memory_text(const ConversionReport& report) {
  std::string out;
  if (report.peak_rss > 0) out = format_bytes(report.peak_rss) + " at the peak";
  if (report.memory_limit > 0) {
    out += fmt::format("{}limit {}", out.empty() ? "" : ", ", format_bytes(report.memory_limit));
  }
  return out;
}

std::string methods_text(const ConversionReport& report) {
  std::map<std::string, uint64_t> tensors;
  for (const TensorReport& tensor : report.tensors) {
    if (!tensor.method.empty()) ++tensors[tensor.method];
  }
  if (tensors.size() == 1) return tensors.begin()->first;
  std::string out;
  for (const auto& [method, count] : tensors) {
    out += fmt::format("{}{}: {}", out.empty() ? "" : ", ", method, format_counted(count, "tensor"));
  }
  return out;
}

std::string flushed_text(const ConversionReport& report) {
  uint64_t tensors = 0;
  for (const TensorReport& tensor : report.tensors) tensors += tensor.flushed_groups > 0 ? 1U : 0U;
  return fmt::format("{} in {} too small for the scale became zeros",
                     format_counted(totals(report).flushed_groups, "group"),
                     format_counted(tensors, "tensor"));
}

}  // namespace lobit::detail
