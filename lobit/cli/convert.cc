// `lobit convert`
#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lobit/base/bytes.h"
#include "lobit/cli/command.h"
#include "lobit/cli/describe.h"
#include "lobit/cli/memory_trace.h"
#include "lobit/convert/compare.h"
#include "lobit/convert/execute.h"
#include "lobit/convert/plan.h"
#include "lobit/format/tensor_role.h"
#include "lobit/quant/distortion.h"
#include "lobit/report/conversion_report.h"
#include "lobit/report/text.h"

namespace lobit::cli {
namespace {

constexpr const char* kFooter =
    "ENCODING: f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_0 q1_0 tq2_0 tq1_0, or a dtype that means its "
    "default:\n"
    "i8 (q8_0), i4 (q4_0), i2 (q2_0), i1 (q1_0), bitnet158 (tq2_0).\n"
    "\n"
    "METHOD: direct takes each block's scale from its largest value and gives ggml's bytes; scaled looks for "
    "a "
    "better\n"
    "scale; exact finds the one with the least squared error, slowly. ggml's names and i8 mean direct; i4, "
    "i2, "
    "i1 and\n"
    "bitnet158 mean scaled. q1_0's direct scale is the exact one.\n"
    "\n"
    "1-D tensors, norms and routers become f32; embeddings and the output q8_0 when ENCODING has fewer than "
    "8 bits.\n"
    "Where ENCODING's block does not divide a tensor's rows: tq1_0, tq2_0, q1_0 -> q2_0 -> q4_0 -> f16.\n"
    "\n"
    "Examples:\n"
    "  lobit convert model.gguf -o small.gguf --to tq2_0 --memory-limit 64MiB\n"
    "  lobit convert hf-folder/ -o out-folder --to bf16 --split-max-size 4GiB\n"
    "  lobit convert model.gguf -o mixed.gguf --to q4_0 --rule 'ffn_down=q8_0' --keep '^output' --verify\n"
    "  lobit convert model.safetensors -o small.safetensors --to bitnet158 --ternary absmean --report "
    "out.html\n"
    "  lobit convert model.gguf -o small.gguf --to q4_0 --method exact --verify\n"
    "  lobit convert model.gguf -o small.gguf --to i4 --dry-run";

struct Arguments {
  std::string input;
  std::string output;
  std::string to;
  std::vector<std::string> rules;
  std::vector<std::string> keep;
  std::string split_max_size;
  std::string memory_limit;
  std::string method;  // "": what the names of encodings mean
  std::string ternary = "direct";
  std::string report;
  std::string memory_trace;
  size_t threads = 0;
  bool pure = false;
  bool raw_names = false;
  bool dry_run = false;
  bool overwrite = false;
  bool verify = false;
  bool saturate = false;
  bool sync = false;
  bool tensors = false;
  bool json = false;
};

// The command that does this again, as a shell reads it.
std::string command_line(const Arguments& args) {
  std::string line =
      fmt::format("lobit convert {} -o {}", shell_quoted(args.input), shell_quoted(args.output));
  const auto option = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) line += fmt::format(" {} {}", name, shell_quoted(value));
  };
  const auto flag = [&](std::string_view name, bool set) {
    if (set) line += fmt::format(" {}", name);
  };
  option("--to", args.to);
  for (const std::string& rule : args.rules) option("--rule", rule);
  for (const std::string& pattern : args.keep) option("--keep", pattern);
  flag("--pure", args.pure);
  option("--method", args.method);
  option("--ternary", args.ternary == "direct" ? "" : args.ternary);
  flag("--saturate", args.saturate);
  option("--split-max-size", args.split_max_size);
  option("--memory-limit", args.memory_limit);
  option("--threads", args.threads == 0 ? "" : fmt::format("{}", args.threads));
  flag("--raw-names", args.raw_names);
  flag("--dry-run", args.dry_run);
  flag("--overwrite", args.overwrite);
  flag("--verify", args.verify);
  flag("--sync", args.sync);
  option("--report", args.report);
  option("--memory-trace", args.memory_trace);
  return line;
}

// The error of a rule, with what its encoding was probably meant to be.
Error with_suggestion(Error error, const std::string& rule) {
  const size_t at = rule.rfind('=');
  if (at == std::string::npos || at == 0) return error;
  const auto encoding = encoding_argument(rule.substr(at + 1));
  if (!encoding) error.message = fmt::format("rule '{}': {}", rule, encoding.error().message);
  return error;
}

// What the options say together, beyond what each says alone.
Status check_method(const Arguments& args) {
  if (args.method.empty() || args.ternary != "absmean") return {};
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("--method {} and --ternary absmean: both choose the scales of ternary tensors; "
                          "expected one of them",
                          args.method));
}

Result<EncodingPolicy> policy_of(const Arguments& args) {
  LOBIT_RETURN_IF_ERROR(check_method(args));
  EncodingPolicy policy;
  if (!args.to.empty()) {
    LOBIT_TRY(policy.to, encoding_argument(args.to));
    policy.method = method_of_name(args.to);
  }
  for (const std::string& text : args.rules) {
    Result<EncodingRule> rule = EncodingRule::parse(text);
    if (!rule) return fail(with_suggestion(std::move(rule).error(), text));
    policy.rules.push_back(std::move(*rule));
  }
  policy.keep = args.keep;
  if (const auto method = parse_quantize_method(args.method)) {
    policy.method = *method;
    for (EncodingRule& rule : policy.rules) rule.method = *method;
  }
  policy.defaults = args.pure ? PolicyDefaults::kPure : PolicyDefaults::kUsable;
  return policy;
}

Result<OutputOptions> output_of(const Arguments& args) {
  OutputOptions output;
  output.path = args.output;
  if (!args.split_max_size.empty()) {
    LOBIT_TRY(output.split_max_size, parse_bytes(args.split_max_size));
    if (output.split_max_size == 0) {
      return fail(ErrorCode::kInvalidArgument, "split size: expected more than 0 bytes");
    }
  }
  output.names = args.raw_names ? NamePolicy::kRaw : NamePolicy::kMapped;
  output.ternary = args.ternary == "absmean" ? TernaryRule::kAbsMean : TernaryRule::kDirect;
  return output;
}

Result<ExecuteOptions> execution_of(const Arguments& args) {
  ExecuteOptions options;
  LOBIT_TRY(options.memory_limit, memory_argument(args.memory_limit));
  options.threads = args.threads;
  options.overflow = args.saturate ? OverflowRule::kSaturate : OverflowRule::kRefuse;
  options.existing = args.overwrite ? ExistingFiles::kReplace : ExistingFiles::kRefuse;
  options.durability = args.sync ? Durability::kFsync : Durability::kNone;
  return options;
}

std::string note_of(const EncodingChoice& choice, const EncodingPolicy& policy, const TensorEntry& tensor,
                    const TensorCounts& counts) {
  std::string note = describe(choice, policy, tensor);
  if (counts.saturated > 0) {
    note += fmt::format("{}{} {} saturated", note.empty() ? "" : "; ", counts.saturated,
                        traits(choice.encoding).is_block() ? "blocks" : "values");
  }
  return note;
}

ConversionReport report_of(const Model& model, const ConversionPlan& plan, const Arguments& args) {
  ConversionReport report;
  report.source = args.input;
  report.target = args.output;
  report.source_format = file_format_name(model.format);
  report.target_format = file_format_name(plan.format);
  report.command = command_line(args);
  for (const ModelPart& part : model.parts) report.file_bytes_in += part.file.size();
  report.file_bytes_out = plan.output_bytes;
  for (const PlannedTensor& planned : plan.tensors) {
    const TensorEntry& source = model.tensors[planned.source];
    TensorReport tensor;
    tensor.name = source.name;
    tensor.role = tensor_role_name(tensor_role(source.name));
    tensor.layer = tensor_layer(source.name);
    tensor.shape = shape_text(source.shape);
    tensor.from = encoding_name(source.encoding);
    tensor.to = encoding_name(planned.choice.encoding);
    tensor.method = scale_rule_name(plan, planned, source.encoding);
    tensor.elements = source.shape.elements();
    tensor.bytes_in = source.bytes;
    tensor.bytes_out = planned.bytes;
    tensor.fallback = planned.choice.reason == ChoiceReason::kFallback;
    tensor.note = note_of(planned.choice, plan.policy, source, {});
    report.tensors.push_back(std::move(tensor));
  }
  return report;
}

void add_result(const Model& model, const ConversionPlan& plan, const ConversionResult& result,
                ConversionReport& report) {
  report.seconds = result.seconds;
  report.threads = static_cast<uint32_t>(result.threads);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const PlannedTensor& planned = plan.tensors[i];
    report.tensors[i].flushed_groups = result.tensors[i].flushed;
    report.tensors[i].note =
        note_of(planned.choice, plan.policy, model.tensors[planned.source], result.tensors[i]);
  }
}

// Opens what was written, as any reader would, and measures it against the source.
Status add_errors(const Model& model, const ConversionPlan& plan, const ExecuteOptions& options,
                  ConversionReport& report) {
  LOBIT_TRY(const Model written, open_model(plan.to_folder ? plan.output : plan.files[0].target));
  ProgressLine progress("verify");
  LOBIT_TRY(const auto comparisons, compare_models(model, written,
                                                   {.memory_limit = options.memory_limit,
                                                    .memory = options.memory,
                                                    .threads = options.threads,
                                                    .control = progress.control()}));
  kernels::ErrorSums total;
  std::unordered_map<std::string_view, TensorReport*> by_name;
  for (TensorReport& tensor : report.tensors) by_name.emplace(tensor.name, &tensor);
  for (const TensorComparison& c : comparisons) {
    const bool measured = c.status == ComparisonStatus::kMeasured || c.status == ComparisonStatus::kIdentical;
    const auto found = by_name.find(c.name);
    if (!measured || found == by_name.end()) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("verification: tensor '{}': not found as it was written", c.name));
    }
    const Distortion d = distortion(c.error);
    TensorReport& tensor = *found->second;
    tensor.sqnr_db = d.sqnr_db;
    tensor.cosine = d.cosine;
    tensor.nmse = d.nmse;
    tensor.max_abs_error = d.max_abs_error;
    total += c.error;
  }
  report.sqnr_db = distortion(total).sqnr_db;
  report.cosine = distortion(total).cosine;
  return {};
}

// Before the conversion rather than after it: what does not fit is refused while nothing is written.
Status check_verification_fits(const Model& model, uint64_t memory_limit) {
  const uint64_t least = least_comparison_limit(model);
  if (memory_limit == 0 || memory_limit >= least) return {};
  return fail(
      ErrorCode::kLimit,
      fmt::format(
          "memory limit {}: too small to measure the errors of this model: the least that works is {} "
          "({} bytes)",
          format_bytes(memory_limit), format_bytes(least), least),
      {.required = least, .available = memory_limit});
}

void warn_about_rules(const ConversionPlan& plan) {
  for (size_t i = 0; i < plan.rule_matches.size(); ++i) {
    const EncodingRule& rule = plan.policy.rules[i];
    const size_t matches = plan.rule_matches[i];
    tell(fmt::format("lobit: rule '{}={}': {} {}\n", printable(rule.pattern), encoding_name(rule.encoding),
                     matches, matches == 1 ? "tensor" : "tensors"));
  }
}

Status show(const ConversionReport& report, const Arguments& args) {
  if (args.json) return print(to_json(report) + "\n");
  const bool every = args.tensors || args.dry_run;
  return print(to_text(report, {every ? ReportDetail::kTensors : ReportDetail::kSummary, terminal_width()}));
}

// What is written beside the model must not replace it.
Status check_targets(const ConversionPlan& plan, const Arguments& args) {
  std::vector<NamedTarget> targets;
  for (const PlannedFile& file : plan.files) targets.push_back({"--output", file.target});
  for (const PlannedCopy& copy : plan.copies) targets.push_back({"--output", copy.target});
  targets.push_back({"--report", args.report});
  targets.push_back({"--memory-trace", args.memory_trace});
  return check_distinct(targets);
}

Result<int> convert(const Arguments& args) {
  LOBIT_TRY(const EncodingPolicy policy, policy_of(args));
  LOBIT_TRY(const OutputOptions output, output_of(args));
  LOBIT_TRY(ExecuteOptions options, execution_of(args));
  LOBIT_RETURN_IF_ERROR(check_report(args.report));
  LOBIT_RETURN_IF_ERROR(MemoryTrace::check(args.memory_trace));
  LOBIT_TRY(const Model model, open_model(args.input));
  LOBIT_TRY(const ConversionPlan plan, plan_conversion(model, policy, output));
  LOBIT_RETURN_IF_ERROR(check_targets(plan, args));
  const bool measured = args.verify || !args.report.empty();
  if (measured) LOBIT_RETURN_IF_ERROR(check_verification_fits(model, options.memory_limit));
  LOBIT_RETURN_IF_ERROR(check_execution(model, plan, options));
  if (!args.json) warn_about_rules(plan);
  ConversionReport report = report_of(model, plan, args);
  report.memory_limit = options.memory_limit;
  std::unique_ptr<MemoryTrace> trace;
  if (!args.memory_trace.empty() && !args.dry_run) {
    LOBIT_TRY(trace, MemoryTrace::create(args.memory_trace, options.memory_limit, command_line(args)));
    options.memory = &trace->resource();
  }
  if (!args.dry_run) {
    ProgressLine progress("convert");
    options.control = progress.control();
    LOBIT_TRY(const ConversionResult result, execute(model, plan, options));
    add_result(model, plan, result, report);
  }
  if (measured && !args.dry_run) {
    LOBIT_RETURN_IF_ERROR(add_errors(model, plan, options, report));
  }
  if (trace != nullptr) LOBIT_RETURN_IF_ERROR(trace->close());
  report.peak_rss = peak_resident_bytes();
  if (!args.report.empty() && !args.dry_run) {
    const std::string page = to_html(report);
    LOBIT_RETURN_IF_ERROR(write_file(args.report, std::as_bytes(std::span(page))));
  }
  LOBIT_RETURN_IF_ERROR(show(report, args));
  return kOk;
}

}  // namespace

void add_convert(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("convert", "Convert a model file or folder to another encoding or format");
  command->footer(kFooter);
  const auto args = std::make_shared<Arguments>();
  command
      ->add_option("IN", args->input, "GGUF file (a split one: its first part), safetensors file or folder")
      ->required();
  command->add_option("-o,--output", args->output, "NAME.gguf, NAME.safetensors or a folder")->required();
  command->add_option("--to", args->to, "Encoding of the matrices")
      ->type_name("ENCODING")
      ->check(refuse_empty);
  command
      ->add_option("--rule", args->rules, "Tensors whose name REGEX finds get ENCODING; the first match wins")
      ->type_name("REGEX=ENCODING")
      ->allow_extra_args(false);
  command->add_option("--keep", args->keep, "Tensors whose name REGEX finds are copied as they are")
      ->type_name("REGEX")
      ->allow_extra_args(false);
  command->add_flag("--pure", args->pure, "Every tensor with 2 or more dimensions gets ENCODING");
  command->add_option("--method", args->method, "How block scales are found: direct, scaled or exact")
      ->type_name("METHOD")
      ->check(CLI::IsMember({"direct", "scaled", "exact"}));
  command
      ->add_option("--ternary", args->ternary,
                   "Ternary scale: direct (each block's own) or absmean (BitNet's)")
      ->check(CLI::IsMember({"direct", "absmean"}));
  command->add_flag("--saturate", args->saturate,
                    "Store the nearest value where one does not fit, instead of failing");
  command->add_option("--split-max-size", args->split_max_size, "Most tensor bytes in one output file")
      ->type_name("SIZE")
      ->check(refuse_empty);
  command->add_option("--memory-limit", args->memory_limit, "Most memory to hold: 64MiB, 1.5GiB, 50%")
      ->type_name("SIZE")
      ->check(refuse_empty);
  command->add_option("--threads", args->threads, "Worker threads; default: one for each processor")
      ->check(CLI::Range(1, 1024));
  command->add_flag("--raw-names", args->raw_names, "Write Hugging Face names into a GGUF file as they are");
  command->add_flag("--dry-run", args->dry_run,
                    "Show what would be written, tensor by tensor; write nothing");
  command->add_flag("--overwrite", args->overwrite, "Replace existing files");
  command->add_flag("--verify", args->verify, "Read back what was written and measure its error");
  command->add_flag("--sync", args->sync, "Flush to the disk before success is reported");
  command->add_option("--report", args->report, "Write a page with sizes and errors of every tensor")
      ->type_name("FILE.html")
      ->check(refuse_empty);
  command
      ->add_option("--memory-trace", args->memory_trace,
                   "Write what is allocated, for `lobit mem report`; takes memory beside the limit")
      ->type_name("FILE")
      ->check(refuse_empty);
  command->add_flag("--tensors", args->tensors, "List every tensor in the final table");
  command->add_flag("--json", args->json, "Print the result as JSON");
  command->callback([args, &chosen] { chosen = [args] { return convert(*args); }; });
}

}  // namespace lobit::cli
