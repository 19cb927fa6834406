// `lobit synth`
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "lobit/base/bytes.h"
#include "lobit/cli/command.h"
#include "lobit/convert/synthesize.h"
#include "lobit/report/number.h"

namespace lobit::cli {
namespace {

constexpr const char* kFooter =
    "The weights are seeded and heavy-tailed as trained ones are; the same arguments give the same bytes on "
    "every\n"
    "machine. A GGUF model opens in llama.cpp (without a vocabulary).\n"
    "\n"
    "Examples:\n"
    "  lobit synth -o trial.gguf --size 1GiB\n"
    "  lobit synth -o trial.safetensors --size 64MiB --dtype bf16 --seed 7";

struct Arguments {
  std::string output;
  std::string size;
  std::string dtype = "f16";
  uint64_t seed = 1;
  size_t threads = 0;
  bool overwrite = false;
  bool json = false;
};

Result<int> synth(const Arguments& args) {
  SynthesizeOptions options;
  LOBIT_TRY(options.size, parse_bytes(args.size));
  LOBIT_TRY(options.encoding, encoding_argument(args.dtype));
  options.seed = args.seed;
  options.threads = args.threads;
  options.existing = args.overwrite ? ExistingFiles::kReplace : ExistingFiles::kRefuse;
  SynthesizedShape shape;
  {
    ProgressLine progress("synth");
    options.control = progress.control();
    LOBIT_TRY(shape, synthesize(args.output, options));
  }
  LOBIT_TRY(const File file, File::open(args.output));
  if (args.json) {
    const nlohmann::ordered_json json{
        {"schema", "lobit.synth.v1"}, {"file", args.output},       {"bytes", file.size()},
        {"dtype", args.dtype},        {"seed", args.seed},         {"layers", shape.layers},
        {"width", shape.width},       {"ffn", shape.ffn},          {"vocab", shape.vocab},
        {"heads", shape.heads},       {"kv_heads", shape.kv_heads}};
    const auto replace = nlohmann::json::error_handler_t::replace;
    LOBIT_RETURN_IF_ERROR(print(json.dump(2, ' ', false, replace) + "\n"));
  } else {
    LOBIT_RETURN_IF_ERROR(print(fmt::format("{}: {}, {} of {} x {}, vocabulary {}, {}, seed {}\n",
                                            args.output, format_bytes(file.size()),
                                            format_counted(static_cast<uint64_t>(shape.layers), "layer"),
                                            shape.width, shape.ffn, shape.vocab, args.dtype, args.seed)));
  }
  return kOk;
}

}  // namespace

void add_synth(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("synth", "Make up a Llama-shaped model of any size, for trials");
  command->footer(kFooter);
  const auto args = std::make_shared<Arguments>();
  command->add_option("-o,--output", args->output, "NAME.gguf or NAME.safetensors")->required();
  command->add_option("--size", args->size, "How large the file is to be, at least 1MiB (f32: 1.5MiB)")
      ->required()
      ->type_name("SIZE");
  command->add_option("--dtype", args->dtype, "f16, f32 or bf16")
      ->check(CLI::IsMember({"f16", "f32", "bf16"}));
  command->add_option("--seed", args->seed, "Another seed, another model");
  command->add_option("--threads", args->threads, "Worker threads")->check(CLI::Range(1, 1024));
  command->add_flag("--overwrite", args->overwrite, "Replace an existing file");
  command->add_flag("--json", args->json, "Print the result as JSON");
  command->callback([args, &chosen] { chosen = [args] { return synth(*args); }; });
}

}  // namespace lobit::cli
