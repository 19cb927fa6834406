// `lobit verify`
#include <memory>

#include <fmt/format.h>

#include "lobit/cli/command.h"
#include "lobit/cli/describe.h"
#include "lobit/convert/compare.h"
#include "lobit/quant/distortion.h"
#include "lobit/report/verify_report.h"

namespace lobit::cli {
namespace {

constexpr const char* kFooter =
    "Without a tolerance, B must hold the same values as A. With --nmse or --max-abs, tensors within them "
    "count as\n"
    "the same. Exit code 0: all the same; 1: some differ or are missing.\n"
    "\n"
    "Examples:\n"
    "  lobit verify model.gguf small.gguf --nmse 0.01\n"
    "  lobit verify a.safetensors b.safetensors --tensors --json";

struct Arguments {
  std::string a;
  std::string b;
  double nmse = 0;
  double max_abs = 0;
  bool has_nmse = false;
  bool has_max_abs = false;
  std::string memory_limit;
  std::string report;
  size_t threads = 0;
  bool tensors = false;
  bool json = false;
};

bool within_tolerance(const Arguments& args, const TensorComparison& c) {
  const Distortion d = distortion(c.error);
  // No tolerance covers the distance between NaN or Inf and another value.
  if (c.unequal_non_finite > 0) return false;
  if (!args.has_nmse && !args.has_max_abs) return c.error.error == 0 && d.max_abs_error == 0;
  return (!args.has_nmse || d.nmse <= args.nmse) && (!args.has_max_abs || d.max_abs_error <= args.max_abs);
}

VerifiedTensor verified(const Arguments& args, const TensorComparison& c) {
  VerifiedTensor tensor;
  tensor.name = c.name;
  if (c.a != nullptr) tensor.encoding_first = encoding_name(c.a->encoding);
  if (c.b != nullptr) tensor.encoding_second = encoding_name(c.b->encoding);
  const auto add_hashes = [&] {
    tensor.hash_first = hash_text(c.hash_a);
    tensor.hash_second = hash_text(c.hash_b);
  };
  switch (c.status) {
    case ComparisonStatus::kOnlyInA:
      tensor.status = VerifyStatus::kOnlyFirst;
      break;
    case ComparisonStatus::kOnlyInB:
      tensor.status = VerifyStatus::kOnlySecond;
      break;
    case ComparisonStatus::kShapeDiffers:
      tensor.status = VerifyStatus::kDiffers;
      tensor.note = fmt::format("shapes {} and {}", shape_text(c.a->shape), shape_text(c.b->shape));
      break;
    case ComparisonStatus::kNotComparable:
      tensor.status = VerifyStatus::kDiffers;
      tensor.note = "bytes differ, and one of the encodings cannot be decoded";
      add_hashes();
      break;
    case ComparisonStatus::kIdentical:
      add_hashes();
      break;
    case ComparisonStatus::kMeasured: {
      const Distortion d = distortion(c.error);
      tensor.status = within_tolerance(args, c) ? VerifyStatus::kSame : VerifyStatus::kDiffers;
      tensor.max_abs_error = d.max_abs_error;
      tensor.nmse = d.nmse;
      tensor.sqnr_db = d.sqnr_db;
      tensor.cosine = d.cosine;
      if (c.error.non_finite > 0) {
        tensor.note = fmt::format("NaN or Inf: {}, unequal: {}", c.error.non_finite, c.unequal_non_finite);
      }
      add_hashes();
      break;
    }
  }
  return tensor;
}

Result<int> verify(const Arguments& args) {
  CompareOptions options;
  LOBIT_TRY(options.memory_limit, memory_argument(args.memory_limit));
  options.threads = args.threads;
  LOBIT_RETURN_IF_ERROR(check_report(args.report));
  LOBIT_TRY(const Model a, open_model(args.a));
  LOBIT_TRY(const Model b, open_model(args.b));
  VerifyReport report;
  report.first = args.a;
  report.second = args.b;
  {
    ProgressLine progress("verify");
    options.control = progress.control();
    LOBIT_TRY(const auto comparisons, compare_models(a, b, options));
    for (const TensorComparison& c : comparisons) report.tensors.push_back(verified(args, c));
  }
  if (!args.report.empty()) {
    const std::string page = to_html(report);
    LOBIT_RETURN_IF_ERROR(write_file(args.report, std::as_bytes(std::span(page))));
  }
  const ReportDetail detail = args.tensors ? ReportDetail::kTensors : ReportDetail::kSummary;
  LOBIT_RETURN_IF_ERROR(
      print(args.json ? to_json(report) + "\n" : to_text(report, {detail, terminal_width()})));
  return totals(report).equal() ? kOk : kFailed;
}

}  // namespace

void add_verify(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("verify", "Compare two models tensor by tensor");
  command->footer(kFooter);
  const auto args = std::make_shared<Arguments>();
  command->add_option("A", args->a, "The original")->required();
  command->add_option("B", args->b, "What is compared with it")->required();
  CLI::Option* nmse =
      command->add_option("--nmse", args->nmse, "Largest error energy over signal energy allowed")
          ->check(CLI::NonNegativeNumber);
  CLI::Option* max_abs = command->add_option("--max-abs", args->max_abs, "Largest absolute error allowed")
                             ->check(CLI::NonNegativeNumber);
  command->add_option("--memory-limit", args->memory_limit, "Most memory to hold")
      ->type_name("SIZE")
      ->check(refuse_empty);
  command->add_option("--threads", args->threads, "Worker threads")->check(CLI::Range(1, 1024));
  command->add_option("--report", args->report, "Write the comparison as a page")
      ->type_name("FILE.html")
      ->check(refuse_empty);
  command->add_flag("--tensors", args->tensors, "List the tensors that are the same, too");
  command->add_flag("--json", args->json, "Print the result as JSON");
  command->callback([args, nmse, max_abs, &chosen] {
    args->has_nmse = nmse->count() > 0;
    args->has_max_abs = max_abs->count() > 0;
    chosen = [args] { return verify(*args); };
  });
}

}  // namespace lobit::cli
