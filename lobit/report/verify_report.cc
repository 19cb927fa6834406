#include "lobit/report/verify_report.h"

#include <algorithm>

#include <fmt/format.h>

#include "lobit/report/html.h"
#include "lobit/report/json_values.h"
#include "lobit/report/number.h"
#include "lobit/report/ranking.h"
#include "lobit/report/table.h"
#include "lobit/report/text.h"

namespace lobit {
namespace {

using detail::Json;

constexpr size_t kNameWidth = 48;
constexpr size_t kHashShown = 16;  // hexadecimal digits in text; JSON and pages have all
constexpr size_t kChartBars = 24;

Table comparison_table(const VerifyReport& report, ReportDetail detail, size_t hash_width) {
  Table table({{"tensor", Align::kLeft, kNameWidth},
               {"status"},
               {"first"},
               {"second"},
               {"max error", Align::kRight},
               {"NMSE", Align::kRight},
               {"SQNR dB", Align::kRight},
               {"cosine", Align::kRight},
               {"note", Align::kLeft, kNameWidth},
               {"hash of first", Align::kLeft, hash_width},
               {"hash of second", Align::kLeft, hash_width}});
  for (const VerifiedTensor& tensor : report.tensors) {
    if (detail == ReportDetail::kSummary && tensor.status == VerifyStatus::kSame) continue;
    table.add_row({text_cell(tensor.name), text_cell(std::string(verify_status_name(tensor.status))),
                   text_cell(tensor.encoding_first), text_cell(tensor.encoding_second),
                   short_cell(tensor.max_abs_error), short_cell(tensor.nmse), fixed_cell(tensor.sqnr_db, 2),
                   fixed_cell(tensor.cosine, 6), text_cell(tensor.note), text_cell(tensor.hash_first),
                   text_cell(tensor.hash_second)});
  }
  return table;
}

std::string verdict(const VerifyReport& report) {
  const VerifyTotals sum = totals(report);
  if (sum.equal()) {
    const bool exact = std::ranges::all_of(
        report.tensors, [](const VerifiedTensor& tensor) { return tensor.max_abs_error.value_or(0) == 0; });
    return (exact ? "Equal: every value of " : "Equal within the tolerance: ") +
           format_counted(sum.same, "tensor");
  }
  std::string out = fmt::format("Not equal: {} the same", format_counted(sum.same, "tensor"));
  const auto add = [&out](uint64_t count, std::string_view what) {
    if (count > 0) out += fmt::format(", {} {}", format_count(count), what);
  };
  add(sum.differs, "different");
  add(sum.only_first, "only in the first");
  add(sum.only_second, "only in the second");
  return out;
}

Json tensor_json(const VerifiedTensor& tensor) {
  Json out = {{"name", tensor.name},
              {"status", verify_status_name(tensor.status)},
              {"note", tensor.note},
              {"encoding_first", tensor.encoding_first},
              {"encoding_second", tensor.encoding_second},
              {"hash_first", tensor.hash_first},
              {"hash_second", tensor.hash_second}};
  detail::set_if(out, "max_abs_error", tensor.max_abs_error);
  detail::set_if(out, "nmse", tensor.nmse);
  detail::set_if(out, "sqnr_db", tensor.sqnr_db);
  detail::set_if(out, "cosine", tensor.cosine);
  return out;
}

// The tensors with the lowest SQNR, the worst first.
BarChart worst_chart(const VerifyReport& report) {
  BarChart chart{.title = "Lowest SQNR",
                 .note = "The second model's values against the first's; higher is better",
                 .series = {{.name = "SQNR"}},
                 .unit = ChartUnit::kDecibels};
  for (const VerifiedTensor* tensor : detail::lowest_sqnr(report.tensors, kChartBars)) {
    chart.categories.push_back(tensor->name);
    chart.series[0].values.push_back(*tensor->sqnr_db);
  }
  return chart;
}

}  // namespace

std::string_view verify_status_name(VerifyStatus status) {
  switch (status) {
    case VerifyStatus::kSame:
      return "same";
    case VerifyStatus::kDiffers:
      return "differs";
    case VerifyStatus::kOnlyFirst:
      return "only in first";
    case VerifyStatus::kOnlySecond:
      break;
  }
  return "only in second";
}

VerifyTotals totals(const VerifyReport& report) {
  VerifyTotals sum;
  for (const VerifiedTensor& tensor : report.tensors) {
    switch (tensor.status) {
      case VerifyStatus::kSame:
        ++sum.same;
        break;
      case VerifyStatus::kDiffers:
        ++sum.differs;
        break;
      case VerifyStatus::kOnlyFirst:
        ++sum.only_first;
        break;
      case VerifyStatus::kOnlySecond:
        ++sum.only_second;
        break;
    }
  }
  return sum;
}

std::string to_text(const VerifyReport& report, const TextOptions& options) {
  std::string out =
      fmt::format("first:  {}\nsecond: {}\n", printable(report.first), printable(report.second));
  const Table table = comparison_table(report, options.detail, kHashShown);
  if (!table.rows().empty()) out += "\n" + table.to_text(options.width) + "\n";
  return out + verdict(report) + "\n";
}

std::string to_json(const VerifyReport& report) {
  const VerifyTotals sum = totals(report);
  Json out = {{"schema", "lobit.verify.v1"},
              {"first", report.first},
              {"second", report.second},
              {"equal", sum.equal()},
              {"totals",
               {{"same", sum.same},
                {"differs", sum.differs},
                {"only_first", sum.only_first},
                {"only_second", sum.only_second}}}};
  out["tensors"] = Json::array();
  for (const VerifiedTensor& tensor : report.tensors) out["tensors"].push_back(tensor_json(tensor));
  return detail::dump(out);
}

std::string to_html(const VerifyReport& report) {
  const VerifyTotals sum = totals(report);
  HtmlPage page("Verify report", fmt::format("{} against {}", report.second, report.first));
  page.add_cards({{"Equal", format_count(sum.same), ""},
                  {"Different", format_count(sum.differs), ""},
                  {"Only in the first", format_count(sum.only_first), ""},
                  {"Only in the second", format_count(sum.only_second), ""}});
  page.add_section("Result");
  page.add_paragraph(verdict(report) + ".");
  if (const BarChart chart = worst_chart(report); !chart.categories.empty()) page.add_chart(chart);
  page.add_section("Tensors");
  page.add_table("All tensors", comparison_table(report, ReportDetail::kTensors, 0));
  page.set_data(to_json(report));
  return page.to_string();
}

}  // namespace lobit
