#include <algorithm>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

// The subcommands that were named, the outermost first.
std::vector<const CLI::App*> named_commands(const CLI::App& app) {
  std::vector<const CLI::App*> named;
  for (const CLI::App* last = &app; !last->get_subcommands().empty();) {
    last = last->get_subcommands()[0];
    named.push_back(last);
  }
  return named;
}

// What `word` was probably meant to be: a command that may follow those that were named. "" when none is
// near.
std::string nearest_command(const CLI::App& last, std::string_view word) {
  std::vector<std::string> names;
  for (const CLI::App* command : last.get_subcommands({})) names.push_back(command->get_name());
  return nearest_name(word, names);
}

// CLI11's message, and what the first word that is no command was probably meant to be.
int usage_error(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  const std::span<char* const> words(argv, static_cast<size_t>(argc));
  const bool json = std::ranges::any_of(words, [](std::string_view word) { return word == "--json"; });
  report_error({ErrorCode::kInvalidArgument, error.what(), {}}, json);
  const std::vector<const CLI::App*> named = named_commands(app);
  std::string so_far = "lobit ";
  for (const CLI::App* command : named) so_far += command->get_name() + " ";
  if (words.size() > named.size() + 1) {
    const std::string near = nearest_command(named.empty() ? app : *named.back(), words[named.size() + 1]);
    if (!near.empty()) tell(fmt::format("Did you mean `{}{}`?\n", so_far, near));
  }
  tell(fmt::format("Run `{}--help` for more.\n", so_far));
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
  const bool json = named_commands(app).back()->count("--json") > 0;
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
