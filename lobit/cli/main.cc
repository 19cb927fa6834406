#include <algorithm>
#include <new>
#include <string_view>

#include <fmt/format.h>

#include "lobit/base/fp_env.h"
#include "lobit/base/version.h"
#include "lobit/cli/command.h"

namespace lobit::cli {
namespace {

constexpr const char* kDescription =
    "Converts, inspects and compares model files (GGUF, safetensors) in as little memory as you name.";

constexpr const char* kFooter =
    "Examples:\n"
    "  lobit convert model.gguf -o small.gguf --to tq2_0 --memory-limit 64MiB\n"
    "  lobit inspect small.gguf\n"
    "  lobit verify model.gguf small.gguf\n"
    "  lobit synth -o trial.gguf --size 1GiB\n"
    "\n"
    "`lobit COMMAND --help` explains a command. Exit codes: 0 ok, 1 failed, 2 usage, 3 does not fit the "
    "limit.";

// CLI11's message, and what the first argument was probably meant to be.
int usage_error(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  const bool json = std::any_of(argv, argv + argc, [](std::string_view word) { return word == "--json"; });
  report_error({ErrorCode::kInvalidArgument, error.what(), {}}, json);
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  if (argc > 1 && app.get_subcommands().empty()) {
    const std::string near = nearest_name(argv[1], names);
    if (!near.empty()) tell(fmt::format("Did you mean `lobit {}`?\n", near));
  }
  const auto chosen = app.get_subcommands();
  tell(fmt::format("Run `lobit {}--help` for more.\n", chosen.empty() ? "" : chosen[0]->get_name() + " "));
  return kUsage;
}

int run(int argc, char** argv) {
  const ScopedFpEnv fp_env;
  CLI::App app(kDescription, "lobit");
  app.footer(kFooter);
  app.set_version_flag("--version", std::string(kVersion));
  app.require_subcommand(1);
  Command command;
  add_convert(app, command);
  add_inspect(app, command);
  add_verify(app, command);
  add_synth(app, command);
  add_devices(app, command);
  add_mem(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error, argc, argv);
  }
  catch_signals();
  const CLI::App* chosen = app.get_subcommands()[0];
  while (!chosen->get_subcommands().empty()) chosen = chosen->get_subcommands()[0];
  const bool json = chosen->count("--json") > 0;
  const Result<int> result = command();
  return result ? *result : report_error(result.error(), json);
}

}  // namespace
}  // namespace lobit::cli

int main(int argc, char** argv) {
  try {
    lobit::cli::hold_standard_streams();
    return lobit::cli::run(argc, argv);
  } catch (const std::bad_alloc&) {
    lobit::cli::tell("lobit: error: out of memory\n");
    return lobit::cli::kFailed;
  }
}
