#include "lobit/report/model_report.h"

#include <fmt/format.h>

#include "lobit/base/bytes.h"
#include "lobit/report/json_values.h"
#include "lobit/report/model_tables.h"
#include "lobit/report/number.h"
#include "lobit/report/text.h"

namespace lobit {
namespace {

using detail::Json;
using detail::TensorSum;

Json tensor_json(const ModelTensor& tensor) {
  Json out = {{"name", tensor.name},         {"role", tensor.role},     {"layer", tensor.layer},
              {"encoding", tensor.encoding}, {"shape", tensor.shape},   {"elements", tensor.elements},
              {"part", tensor.part},         {"offset", tensor.offset}, {"bytes", tensor.bytes}};
  if (tensor.statistics) {
    const TensorStatistics& s = *tensor.statistics;
    out["statistics"] = {{"min", s.min},
                         {"max", s.max},
                         {"mean", s.mean},
                         {"standard_deviation", s.standard_deviation},
                         {"zeros", s.zeros},
                         {"nans", s.nans},
                         {"infinities", s.infinities}};
  }
  return out;
}

std::string headline(const ModelReport& report) {
  const TensorSum sum = detail::sum_of(report);
  std::string out =
      fmt::format("{}: {} {}", printable(report.path), printable(report.format), printable(report.version));
  if (out.back() == ' ') out.pop_back();
  if (report.parts.size() > 1) out += ", " + format_counted(report.parts.size(), "file");
  if (report.alignment > 0) out += fmt::format(", alignment {}", report.alignment);
  return out + fmt::format("\n{}, {}, {}, {:.2f} bits/weight\n", format_counted(sum.tensors, "tensor"),
                           format_counted(sum.elements, "element"), format_bytes(sum.bytes),
                           sum.bits_per_weight());
}

}  // namespace

std::string to_text(const ModelReport& report, const TextOptions& options) {
  std::string out = headline(report);
  if (!report.metadata.empty()) out += "\n" + detail::metadata_table(report).to_text(options.width);
  out += "\n" + detail::model_encodings_table(report).to_text(options.width);
  out += "\n" + detail::layers_table(report, options.detail).to_text(options.width);
  if (const Table statistics = detail::statistics_table(report); !statistics.rows().empty()) {
    out += "\n" + statistics.to_text(options.width);
  }
  return out;
}

std::string to_json(const ModelReport& report) {
  const TensorSum sum = detail::sum_of(report);
  Json out = {{"schema", "lobit.inspect.v1"},
              {"path", report.path},
              {"format", report.format},
              {"version", report.version},
              {"alignment", report.alignment},
              {"totals",
               {{"tensors", sum.tensors},
                {"elements", sum.elements},
                {"bytes", sum.bytes},
                {"bits_per_weight", sum.bits_per_weight()}}}};
  out["parts"] = Json::array();
  for (const ModelFile& part : report.parts)
    out["parts"].push_back({{"name", part.name}, {"bytes", part.bytes}});
  out["metadata"] = Json::array();
  for (const MetadataItem& item : report.metadata) {
    out["metadata"].push_back({{"key", item.key}, {"type", item.type}, {"text", item.text}});
  }
  out["tensors"] = Json::array();
  for (const ModelTensor& tensor : report.tensors) out["tensors"].push_back(tensor_json(tensor));
  return detail::dump(out);
}

}  // namespace lobit
