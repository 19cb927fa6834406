// `lobit inspect`
#include <memory>

#include <fmt/format.h>

#include "lobit/cli/command.h"
#include "lobit/cli/describe.h"
#include "lobit/convert/statistics.h"
#include "lobit/format/model.h"
#include "lobit/format/tensor_role.h"
#include "lobit/report/model_report.h"

namespace lobit::cli {
namespace {

constexpr const char* kFooter =
    "Reads headers only, so it is instant whatever the size; --stats reads every value.\n"
    "\n"
    "Examples:\n"
    "  lobit inspect model.gguf\n"
    "  lobit inspect hf-folder/ --tensors\n"
    "  lobit inspect model.safetensors --stats --json";

struct Arguments {
  std::string input;
  std::string memory_limit;
  std::string report;
  size_t threads = 0;
  bool stats = false;
  bool tensors = false;
  bool json = false;
};

std::string type_text(const MetadataValue& value) {
  if (value.type != MetadataType::kArray) return std::string(metadata_type_name(value.type));
  return fmt::format("array of {}", metadata_type_name(value.element));
}

ModelReport report_of(const Model& model, const Arguments& args) {
  ModelReport report;
  report.path = args.input;
  report.format = file_format_name(model.format);
  if (model.version > 0) report.version = fmt::format("{}", model.version);
  report.alignment = model.format == FileFormat::kGguf ? model.alignment : 0;
  for (const ModelPart& part : model.parts) {
    report.parts.push_back({part.path.filename().native(), part.file.size()});
  }
  for (const TensorEntry& entry : model.tensors) {
    ModelTensor tensor;
    tensor.name = entry.name;
    tensor.role = tensor_role_name(tensor_role(entry.name));
    tensor.layer = tensor_layer(entry.name);
    tensor.encoding = encoding_name(entry.encoding);
    tensor.shape = shape_text(entry.shape);
    tensor.elements = entry.shape.elements();
    tensor.part = entry.part;
    tensor.offset = entry.offset;
    tensor.bytes = entry.bytes;
    report.tensors.push_back(std::move(tensor));
  }
  for (const MetadataEntry& entry : model.metadata.entries()) {
    report.metadata.push_back({entry.key, type_text(entry.value), entry.value.to_string()});
  }
  return report;
}

Status add_statistics(const Model& model, const Arguments& args, ModelReport& report) {
  ProgressLine progress("inspect");
  StatisticsOptions options;
  LOBIT_TRY(options.memory_limit, memory_argument(args.memory_limit));
  options.threads = args.threads;
  options.control = progress.control();
  LOBIT_TRY(const auto statistics, model_statistics(model, options));
  for (size_t i = 0; i < statistics.size(); ++i) {
    if (!statistics[i]) continue;
    const ValueSummary& s = *statistics[i];
    report.tensors[i].statistics =
        TensorStatistics{s.min, s.max, s.mean, s.standard_deviation, s.zeros, s.nans, s.infinities};
  }
  return {};
}

Result<int> inspect(const Arguments& args) {
  LOBIT_RETURN_IF_ERROR(check_report(args.report));
  LOBIT_TRY(const Model model, open_model(args.input));
  ModelReport report = report_of(model, args);
  if (args.stats) LOBIT_RETURN_IF_ERROR(add_statistics(model, args, report));
  if (!args.report.empty()) {
    const std::string page = to_html(report);
    LOBIT_RETURN_IF_ERROR(write_file(args.report, std::as_bytes(std::span(page))));
  }
  const bool every = args.tensors || args.stats;
  const ReportDetail detail = every ? ReportDetail::kTensors : ReportDetail::kSummary;
  LOBIT_RETURN_IF_ERROR(
      print(args.json ? to_json(report) + "\n" : to_text(report, {detail, terminal_width()})));
  return kOk;
}

}  // namespace

void add_inspect(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("inspect", "Show what a model file or folder holds");
  command->footer(kFooter);
  const auto args = std::make_shared<Arguments>();
  command->add_option("IN", args->input, "GGUF file, safetensors file or folder")->required();
  command->add_flag("--tensors", args->tensors, "A line for every tensor, not only for every layer");
  command->add_flag("--stats", args->stats,
                    "Read the values: minimum, maximum, mean, deviation, zeros, NaN, Inf");
  command->add_option("--memory-limit", args->memory_limit, "Most memory to hold with --stats")
      ->type_name("SIZE")
      ->check(refuse_empty);
  command->add_option("--threads", args->threads, "Worker threads with --stats")->check(CLI::Range(1, 1024));
  command->add_option("--report", args->report, "Write it as a page")
      ->type_name("FILE.html")
      ->check(refuse_empty);
  command->add_flag("--json", args->json, "Print it as JSON");
  command->callback([args, &chosen] { chosen = [args] { return inspect(*args); }; });
}

}  // namespace lobit::cli
