// Table: rows under titled columns, built once and shown as aligned text, as Markdown or on an HtmlPage.
// Cells hold text as it is; each way of showing it escapes what it must. A plain value without locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lobit/base/export.h"

namespace lobit {

enum class Align : uint8_t { kLeft, kRight };

struct Column {
  std::string title = {};
  Align align = Align::kLeft;
  size_t max_width = 0;  // longer cells are shortened in aligned text; 0: no limit
};

// What a reader sees, and for a number the value that it stands for (pages sort by it).
struct Cell {
  std::string text = {};
  std::optional<double> value = std::nullopt;
  // More lines, which a page shows when the cell is opened and nothing else does.
  std::vector<std::string> folded = {};
};

LOBIT_API Cell text_cell(std::string text);
LOBIT_API Cell count_cell(uint64_t count);
LOBIT_API Cell bytes_cell(uint64_t bytes);
LOBIT_API Cell percent_cell(double part, double whole);
// Empty when there is no value.
LOBIT_API Cell fixed_cell(std::optional<double> value, int digits);
LOBIT_API Cell short_cell(std::optional<double> value);

class LOBIT_API Table {
 public:
  enum class RowKind : uint8_t {
    kPlain,
    kGroup,   // heads the plain rows below it, with their subtotals; those are indented
    kFooter,  // totals, under a rule
  };
  struct Row {
    RowKind kind;
    std::vector<Cell> cells = {};  // as many as columns
  };

  explicit Table(std::vector<Column> columns);

  // One cell for each column.
  void add_row(std::vector<Cell> cells);
  void add_group(std::vector<Cell> cells);
  void add_footer(std::vector<Cell> cells);

  const std::vector<Column>& columns() const { return columns_; }
  const std::vector<Row>& rows() const { return rows_; }
  bool has_groups() const { return has_groups_; }

  // Lines for a terminal: titles, a rule, rows, each with a newline and without trailing blanks. With `width`
  // > 0, left-aligned columns are narrowed (to no less than 12) until the lines fit so many columns.
  std::string to_text(size_t width = 0) const;

  // The same as a Markdown table.
  std::string to_markdown() const;

 private:
  void add(RowKind kind, std::vector<Cell> cells);
  std::vector<size_t> column_widths(size_t width) const;
  std::string shown(const Row& row, size_t column) const;
  void append_line(std::string& out, const std::vector<std::string>& cells,
                   const std::vector<size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<Row> rows_;
  bool has_groups_ = false;
};

}  // namespace lobit
