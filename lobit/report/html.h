// HtmlPage: one self-contained page, built from top to bottom. No network, no time, no path of its own: the
// same calls give the same bytes. Every text is hostile until escaped, and the page's policy lets only the
// built-in style and script act. Owned by one thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lobit/base/export.h"
#include "lobit/report/chart.h"
#include "lobit/report/table.h"

namespace lobit {

// One number of the page's summary.
struct Card {
  std::string label = {};
  std::string value = {};
  std::string note = {};  // in small print below; may be empty
};

using Fact = std::pair<std::string, std::string>;  // label, value

class LOBIT_API HtmlPage {
 public:
  // Rows beyond this many are left out of a table, and a sentence says so: a browser that sorts ten times as
  // many stands still for seconds.
  static constexpr size_t kMostRows = 20000;

  HtmlPage(std::string_view title, std::string_view subtitle);

  // Starts a section; what is added next belongs to it.
  void add_section(std::string_view heading);
  void add_cards(const std::vector<Card>& cards);
  void add_paragraph(std::string_view text);
  void add_list(const std::vector<std::string>& items);
  void add_facts(const std::vector<Fact>& facts);
  // A command line or a log, in a monospaced block.
  void add_code(std::string_view text);
  // Sortable by a click on a column's title, unless the table has groups.
  void add_table(std::string_view caption, const Table& table);
  void add_chart(const BarChart& chart) { body_ += draw(chart); }
  void add_chart(const LineChart& chart) { body_ += draw(chart); }
  void add_chart(const AreaChart& chart) { body_ += draw(chart); }
  void add_chart(const ArenaChart& chart) { body_ += draw(chart); }
  // The report that the page shows, for programs: the content of the element with the id "data".
  void set_data(std::string_view json);

  std::string to_string() const;

 private:
  std::string title_;  // escaped, like all below
  std::string header_;
  std::string body_;
  std::string data_;
  bool in_section_ = false;
};

}  // namespace lobit
