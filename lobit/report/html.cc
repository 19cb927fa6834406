#include "lobit/report/html.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "lobit/report/escape.h"
#include "lobit/report/html_assets.h"
#include "lobit/report/number.h"

namespace lobit {
namespace {

using detail::escape_html;

// What a column of numbers sorts by; text and missing values have none.
std::string sort_key(const Cell& cell) {
  if (!cell.value || std::isnan(*cell.value)) return {};
  if (std::isinf(*cell.value)) {
    return fmt::format(" data-sort=\"{}Infinity\"", *cell.value < 0 ? "-" : "");
  }
  return fmt::format(" data-sort=\"{}\"", *cell.value);
}

std::string_view row_class(Table::RowKind kind) {
  return kind == Table::RowKind::kGroup ? " class=\"group\"" : "";
}

std::string cell_content(const Cell& cell) {
  if (cell.folded.empty()) return escape_html(cell.text);
  std::string out = fmt::format("<details><summary>{}</summary><ol>", escape_html(cell.text));
  for (const std::string& line : cell.folded) out += fmt::format("<li>{}</li>", escape_html(line));
  return out + "</ol></details>";
}

std::string table_row(const Table& table, const Table::Row& row) {
  std::string out = fmt::format("<tr{}>", row_class(row.kind));
  for (size_t i = 0; i < row.cells.size(); ++i) {
    const bool is_number = table.columns()[i].align == Align::kRight;
    out += fmt::format("<td{}{}>{}</td>", is_number ? " class=\"number\"" : "", sort_key(row.cells[i]),
                       cell_content(row.cells[i]));
  }
  return out + "</tr>\n";
}

std::string table_head(const Table& table) {
  std::string out = "<thead><tr>";
  for (const Column& column : table.columns()) {
    const bool is_number = column.align == Align::kRight;
    out += fmt::format("<th scope=\"col\" data-type=\"{}\"{}>{}</th>", is_number ? "number" : "text",
                       is_number ? " class=\"number\"" : "", escape_html(column.title));
  }
  return out + "</tr></thead>\n";
}

}  // namespace

HtmlPage::HtmlPage(std::string_view title, std::string_view subtitle)
    : title_(escape_html(title)), header_(fmt::format("<header>\n<h1>{}</h1>\n", title_)) {
  if (!subtitle.empty()) header_ += fmt::format("<p class=\"subtitle\">{}</p>\n", escape_html(subtitle));
  header_ += "</header>\n";
}

void HtmlPage::add_section(std::string_view heading) {
  if (in_section_) body_ += "</section>\n";
  in_section_ = true;
  body_ += fmt::format("<section>\n<h2>{}</h2>\n", escape_html(heading));
}

void HtmlPage::add_cards(const std::vector<Card>& cards) {
  body_ += "<dl class=\"cards\">\n";
  for (const Card& card : cards) {
    body_ += fmt::format("<div><dt>{}</dt><dd>{}</dd>", escape_html(card.label), escape_html(card.value));
    if (!card.note.empty()) body_ += fmt::format("<dd class=\"note\">{}</dd>", escape_html(card.note));
    body_ += "</div>\n";
  }
  body_ += "</dl>\n";
}

void HtmlPage::add_paragraph(std::string_view text) {
  body_ += fmt::format("<p>{}</p>\n", escape_html(text));
}

void HtmlPage::add_list(const std::vector<std::string>& items) {
  body_ += "<ul>\n";
  for (const std::string& item : items) body_ += fmt::format("<li>{}</li>\n", escape_html(item));
  body_ += "</ul>\n";
}

void HtmlPage::add_facts(const std::vector<Fact>& facts) {
  body_ += "<dl class=\"facts\">\n";
  for (const auto& [label, value] : facts) {
    body_ += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(label), escape_html(value));
  }
  body_ += "</dl>\n";
}

void HtmlPage::add_code(std::string_view text) {
  body_ += fmt::format("<pre tabindex=\"0\"><code>{}</code></pre>\n", escape_html(text));
}

void HtmlPage::add_table(std::string_view caption, const Table& table) {
  const std::string name = escape_html(caption);
  body_ += fmt::format(
      "<div class=\"scroll table\" tabindex=\"0\" role=\"group\" aria-label=\"{}\">\n<table{}>\n"
      "<caption>{}</caption>\n",
      name, table.has_groups() ? "" : " class=\"sortable\"", name);
  std::string rows;
  std::string footers;
  size_t count = 0;
  for (const Table::Row& row : table.rows()) {
    if (row.kind == Table::RowKind::kFooter) {
      footers += table_row(table, row);
    } else if (++count <= kMostRows) {
      rows += table_row(table, row);
    }
  }
  body_ += table_head(table) + "<tbody>\n" + rows + "</tbody>\n";
  if (!footers.empty()) body_ += "<tfoot>\n" + footers + "</tfoot>\n";
  body_ += "</table>\n</div>\n";
  if (count > kMostRows) {
    add_paragraph(fmt::format("The first {} of {} rows. The data embedded in this page has all.",
                              format_count(kMostRows), format_count(count)));
  }
}

void HtmlPage::set_data(std::string_view json) {
  data_ = detail::escape_script_json(json);
}

std::string HtmlPage::to_string() const {
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
      "style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta name=\"referrer\" content=\"no-referrer\">\n<title>{}</title>\n",
      detail::kPageStyleHash, detail::kPageScriptHash, title_);
  out += fmt::format("<style>{}</style>\n</head>\n<body>\n<main>\n", detail::page_style());
  out += header_ + body_;
  if (in_section_) out += "</section>\n";
  out += "</main>\n";
  if (!data_.empty())
    out += fmt::format("<script type=\"application/json\" id=\"data\">{}</script>\n", data_);
  return out + fmt::format("<script>{}</script>\n</body>\n</html>\n", detail::page_script());
}

}  // namespace lobit
