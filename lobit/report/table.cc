#include "lobit/report/table.h"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>

#include "lobit/base/bytes.h"
#include "lobit/base/check.h"
#include "lobit/report/number.h"
#include "lobit/report/text.h"

namespace lobit {
namespace {

constexpr std::string_view kGap = "  ";
constexpr size_t kNarrowest = 12;  // columns; below it a shortened name tells nothing

std::string repeated(std::string_view text, size_t times) {
  std::string out;
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

size_t total_width(const std::vector<size_t>& widths) {
  const size_t gaps = widths.empty() ? 0 : (widths.size() - 1) * kGap.size();
  return std::accumulate(widths.begin(), widths.end(), gaps);
}

// Names must neither break a Markdown table nor become markup.
std::string markdown_escaped(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    if (std::string_view("\\`*[]<>|&").find(c) != std::string_view::npos) out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

}  // namespace

Cell text_cell(std::string text) {
  return {.text = std::move(text)};
}
Cell count_cell(uint64_t count) {
  return {.text = format_count(count), .value = static_cast<double>(count)};
}
Cell bytes_cell(uint64_t bytes) {
  return {.text = format_bytes(bytes), .value = static_cast<double>(bytes)};
}
Cell percent_cell(double part, double whole) {
  return {.text = format_percent(part, whole), .value = whole > 0 ? part / whole : 0};
}
Cell fixed_cell(std::optional<double> value, int digits) {
  return {.text = value ? format_fixed(*value, digits) : std::string(), .value = value};
}
Cell short_cell(std::optional<double> value) {
  return {.text = value ? format_short(*value) : std::string(), .value = value};
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

void Table::add(RowKind kind, std::vector<Cell> cells) {
  LOBIT_CHECK(cells.size() == columns_.size());
  rows_.push_back({kind, std::move(cells)});
}
void Table::add_row(std::vector<Cell> cells) {
  add(RowKind::kPlain, std::move(cells));
}
void Table::add_group(std::vector<Cell> cells) {
  has_groups_ = true;
  add(RowKind::kGroup, std::move(cells));
}
void Table::add_footer(std::vector<Cell> cells) {
  add(RowKind::kFooter, std::move(cells));
}

std::string Table::shown(const Row& row, size_t column) const {
  const bool indented = has_groups_ && column == 0 && row.kind == RowKind::kPlain;
  return (indented ? "  " : "") + printable(row.cells[column].text);
}

std::vector<size_t> Table::column_widths(size_t width) const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t widest = 0;
    for (const Row& row : rows_) widest = std::max(widest, display_width(shown(row, i)));
    if (columns_[i].max_width > 0) widest = std::min(widest, columns_[i].max_width);
    widths.push_back(std::max(widest, display_width(columns_[i].title)));
  }
  while (width > 0 && total_width(widths) > width) {
    size_t victim = columns_.size();
    for (size_t i = 0; i < columns_.size(); ++i) {
      const size_t least = std::max(kNarrowest, display_width(columns_[i].title));
      if (columns_[i].align != Align::kLeft || widths[i] <= least) continue;
      if (victim == columns_.size() || widths[i] > widths[victim]) victim = i;
    }
    if (victim == columns_.size()) break;
    --widths[victim];
  }
  return widths;
}

void Table::append_line(std::string& out, const std::vector<std::string>& cells,
                        const std::vector<size_t>& widths) const {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string text = shorten_middle(cells[i], std::max<size_t>(widths[i], 1));
    const std::string blanks(widths[i] - std::min(widths[i], display_width(text)), ' ');
    if (i > 0) line += kGap;
    line += columns_[i].align == Align::kRight ? blanks + text : text + blanks;
  }
  line.resize(line.find_last_not_of(' ') + 1);
  out += line;
  out += '\n';
}

std::string Table::to_text(size_t width) const {
  const std::vector<size_t> widths = column_widths(width);
  const std::string rule = repeated("─", total_width(widths)) + "\n";
  std::string out;
  std::vector<std::string> cells;
  cells.reserve(columns_.size());
  for (const Column& column : columns_) cells.push_back(column.title);
  append_line(out, cells, widths);
  out += rule;
  RowKind previous = RowKind::kPlain;
  for (const Row& row : rows_) {
    if (row.kind == RowKind::kFooter && previous != RowKind::kFooter) out += rule;
    previous = row.kind;
    for (size_t i = 0; i < cells.size(); ++i) cells[i] = shown(row, i);
    append_line(out, cells, widths);
  }
  return out;
}

std::string Table::to_markdown() const {
  std::string out = "|";
  for (const Column& column : columns_) out += " " + markdown_escaped(column.title) + " |";
  out += "\n|";
  for (const Column& column : columns_) out += column.align == Align::kRight ? " ---: |" : " --- |";
  for (const Row& row : rows_) {
    out += "\n|";
    for (const Cell& cell : row.cells) {
      const std::string text = markdown_escaped(cell.text);
      out += row.kind == RowKind::kPlain || text.empty() ? " " + text + " |" : " **" + text + "** |";
    }
  }
  return out + "\n";
}

}  // namespace lobit
