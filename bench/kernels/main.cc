// lobit_bench_kernels: prints one JSON object {simd, rows} on stdout, progress and complaints on stderr. Run
// by script/bench kernels, which describes the rows.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/kernels/cases.h"
#include "bench/kernels/methods.h"
#include "bench/program.h"
#include "bench/simd_option.h"
#include <nlohmann/json.hpp>

#include "lobit/base/fp_env.h"
#include "lobit/kernels/simd.h"

namespace lobit::bench {
namespace {

struct Options {
  std::string peer_folder;
  std::string simd;
  std::string only;  // part of a case's name
  bool quick = false;
};

std::optional<Options> parse_options(const std::vector<std::string>& arguments) {
  Options options;
  const Option known[] = {{"--peer", &options.peer_folder},
                          {"--simd", &options.simd},
                          {"--only", &options.only},
                          {"--quick", &options.quick}};
  return read_options(arguments, known) ? std::optional(options) : std::nullopt;
}

nlohmann::json to_json(const Row& row) {
  nlohmann::json out = {{"bench", "kernels"},
                        {"case", row.name},
                        {"metric", row.metric},
                        {"unit", row.unit},
                        {"better", row.better},
                        {"ours", nullptr},
                        {"peers", nlohmann::json::object()},
                        {"limits", nlohmann::json::object()}};
  for (const auto& [name, rate] : row.values) {
    if (name == "ours") {
      out["ours"] = rate;
    } else {
      out[name.starts_with("ggml") ? "peers" : "limits"][name] = rate;
    }
  }
  if (!row.reasons.empty()) out["reasons"] = row.reasons;
  if (row.bytes_equal) out["bytes_equal"] = *row.bytes_equal;
  return out;
}

nlohmann::json run_cases(const Options& options, const GgmlPeer* peer, const std::string& peer_reason) {
  const Sampling sampling{.rounds = options.quick ? 3u : 9u, .sample_seconds = options.quick ? 0.002 : 0.004};
  nlohmann::json rows = nlohmann::json::array();
  for (const size_t f32_bytes : {size_t{256} << 20, size_t{256} << 10}) {
    Bench bench(f32_bytes, peer, peer_reason, sampling);
    for (const Case& c : all_cases()) {
      if (case_name(c).find(options.only) == std::string::npos) continue;
      const Row row = bench.run(c);
      std::fprintf(stderr, "%s\n", row.name.c_str());
      if (row.bytes_equal == false) {
        std::fprintf(stderr, "BYTES DIFFER from ggml's: %s\n", row.name.c_str());
      }
      rows.push_back(to_json(row));
    }
  }
  for (const Row& row : run_methods(options.only, peer, peer_reason, sampling)) rows.push_back(to_json(row));
  return rows;
}

int run(const std::vector<std::string>& arguments) {
  const std::optional<Options> options = parse_options(arguments);
  if (!options || !choose_simd(options->simd)) {
    std::fprintf(stderr,
                 "usage: lobit_bench_kernels [--quick] [--peer FOLDER] [--simd LEVEL] [--only PART]\n");
    for (const SimdLevel level : simd_levels()) std::cerr << "  LEVEL " << simd_level_name(level) << "\n";
    return 2;
  }
  Result<GgmlPeer> peer = GgmlPeer::open(options->peer_folder);
  const std::string peer_reason = peer ? "" : peer.error().message;
  const ScopedFpEnv fp_env;
  return print_result({{"simd", simd_level_name(simd_level())},
                       {"rows", run_cases(*options, peer ? &*peer : nullptr, peer_reason)}});
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}
