// `lobit mem`
#include <array>
#include <memory>

#include <fmt/format.h>

#include "lobit/cli/command.h"
#include "lobit/io/file.h"
#include "lobit/memory/profile_trace.h"
#include "lobit/report/memory_report.h"

namespace lobit::cli {
namespace {

constexpr const char* kFooter =
    "A trace comes from `lobit convert --memory-trace FILE`, or from a program's own LoggingResource.\n"
    "\n"
    "Examples:\n"
    "  lobit convert model.gguf -o small.gguf --to q4_0 --memory-trace trace.csv\n"
    "  lobit mem report trace.csv\n"
    "  lobit mem report trace.csv --report memory.html --perfetto memory.json";

struct Arguments {
  std::string trace;
  std::string report;
  std::string perfetto;
  bool all = false;
  bool json = false;
};

Result<int> report(const Arguments& args) {
  LOBIT_RETURN_IF_ERROR(check_report(args.report));
  LOBIT_RETURN_IF_ERROR(
      check_replaceable(args.perfetto, "Perfetto trace", {"{\n  \"traceEvents\"", "{\"traceEvents\""}));
  LOBIT_RETURN_IF_ERROR(check_distinct({{"--report", args.report}, {"--perfetto", args.perfetto}}));
  LOBIT_TRY(const File file, File::open(args.trace));
  LOBIT_TRY(MemoryProfile profile, profile_trace(file));
  if (profile.name.empty()) profile.name = args.trace;
  if (!args.report.empty()) {
    LOBIT_RETURN_IF_ERROR(write_memory_report(profile, args.report, MemoryReportFormat::kHtml));
  }
  if (!args.perfetto.empty()) {
    LOBIT_RETURN_IF_ERROR(write_memory_report(profile, args.perfetto, MemoryReportFormat::kPerfetto));
  }
  const ReportDetail detail = args.all ? ReportDetail::kTensors : ReportDetail::kSummary;
  LOBIT_RETURN_IF_ERROR(
      print(args.json ? to_json(profile) + "\n" : to_text(profile, {detail, terminal_width()})));
  return kOk;
}

}  // namespace

void add_mem(CLI::App& app, Command& chosen) {
  CLI::App* mem = app.add_subcommand("mem", "Explain what memory was used for");
  mem->require_subcommand(1);
  CLI::App* command = mem->add_subcommand(
      "report", "What held memory and when, what was not freed, and what would lower the peak");
  mem->footer(kFooter);
  command->footer(kFooter);
  const auto args = std::make_shared<Arguments>();
  command->add_option("TRACE", args->trace, "A trace of allocations")->required();
  command->add_option("--report", args->report, "Write it as a page")
      ->type_name("FILE.html")
      ->check(refuse_empty);
  command->add_option("--perfetto", args->perfetto, "Write it for ui.perfetto.dev and chrome://tracing")
      ->type_name("FILE.json")
      ->check(refuse_empty);
  command->add_flag("--all", args->all, "List every holder and unfreed block, not only the largest");
  command->add_flag("--json", args->json, "Print it as JSON");
  command->callback([args, &chosen] { chosen = [args] { return report(*args); }; });
}

}  // namespace lobit::cli
