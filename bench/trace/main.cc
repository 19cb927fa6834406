// lobit_bench_trace: replays one trace on one contestant and prints a JSON object with either the processor
// time it took (--measure time, or alone: without touching the blocks) or the memory it kept (--measure
// memory). Run by script/bench trace, which describes the figures.
#include <chrono>
#include <iostream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bench/allocators/contestants.h"
#include "bench/program.h"
#include "bench/trace/block_trace.h"
#include "bench/trace/replay.h"
#include "bench/trace/resident.h"
#include "bench/trace/trace_file.h"
#include "bench/trace/transformer.h"
#include <nlohmann/json.hpp>

namespace lobit::bench {
namespace {

struct Options {
  std::string contestant;
  std::string measure;
  std::string trace;  // concat, paged, or a file
  std::string write;  // write the trace there and do nothing else
  size_t requests = 80;
  double idle_seconds = 1;
  double wait_seconds = 5;
};

std::optional<Options> parse_options(const std::vector<std::string>& arguments) {
  Options options;
  const Option known[] = {
      {"--contestant", &options.contestant},
      {"--measure", &options.measure},
      {"--trace", &options.trace},
      {"--write", &options.write},
      {"--requests", &options.requests},
      {"--idle-seconds", &options.idle_seconds},
      {"--wait-seconds", &options.wait_seconds},
  };
  const bool complete = read_options(arguments, known) && !options.trace.empty() &&
                        (!options.write.empty() || !options.contestant.empty());
  return complete ? std::optional(options) : std::nullopt;
}

std::optional<BlockTrace> make_trace(const Options& options) {
  if (options.trace == "concat") return transformer_trace(KvGrowth::kConcat, options.requests);
  if (options.trace == "paged") return transformer_trace(KvGrowth::kPaged, options.requests);
  return read_trace_file(options.trace);
}

template <TouchPages touch, class Allocator>
nlohmann::json measure_time(Allocator& allocator, const BlockTrace& trace) {
  if constexpr (touch == TouchPages::kYes) warm_machine(trace.peak_live_bytes + trace.peak_live_bytes / 4);
  Replay<touch, Allocator> replay(allocator, trace);
  const double start = process_seconds();
  replay.run(trace.events.size());
  return {{"cpu", process_seconds() - start}};
}

void sleep_seconds(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

// Bytes resident above what was there before the first allocation. null: the contestant has no trim().
template <class Allocator>
nlohmann::json measure_memory(Allocator& allocator, const BlockTrace& trace, const Options& options) {
  constexpr size_t kEventsPerSample = 512;
  Replay<TouchPages::kYes, Allocator> replay(allocator, trace);
  const uint64_t before = resident_bytes();
  const auto resident = [before] {
    const uint64_t now = resident_bytes();
    return now - std::min(now, before);
  };
  double resident_sum = 0;
  double live_sum = 0;
  while (!replay.done()) {
    replay.run(kEventsPerSample);
    resident_sum += static_cast<double>(resident());
    live_sum += static_cast<double>(replay.live_bytes());
  }
  nlohmann::json result = {{"mean_ratio", resident_sum / live_sum},
                           {"peak", peak_resident_bytes() - before},
                           {"idle", resident()}};
  sleep_seconds(options.idle_seconds);
  result["idle_later"] = resident();
  const auto start = std::chrono::steady_clock::now();
  const bool trims = allocator.trim();
  const std::chrono::duration<double> trim = std::chrono::steady_clock::now() - start;
  for (const char* key : {"trim", "trimmed", "trimmed_later"}) result[key] = nullptr;
  if (!trims) return result;
  result["trim"] = trim.count();
  result["trimmed"] = resident();
  sleep_seconds(options.wait_seconds);
  result["trimmed_later"] = resident();
  return result;
}

template <class Allocator>
nlohmann::json measure(Allocator& allocator, const BlockTrace& trace, const Options& options) {
  if (options.measure == "time") return measure_time<TouchPages::kYes>(allocator, trace);
  if (options.measure == "alone") return measure_time<TouchPages::kNo>(allocator, trace);
  if (options.measure == "memory") return measure_memory(allocator, trace, options);
  return {};
}

int run(const std::vector<std::string>& arguments) {
  const std::optional<Options> options = parse_options(arguments);
  if (!options) {
    std::cerr << "usage: lobit_bench_trace --trace concat|paged|FILE [--requests N] --write FILE\n"
                 "       lobit_bench_trace --trace ... --contestant NAME --measure time|alone|memory\n"
                 "                         [--idle-seconds S] [--wait-seconds S]\n  contestants: "
              << kContestantNames << "\n";
    return 2;
  }
  const std::optional<BlockTrace> trace = make_trace(*options);
  if (!trace) return 1;
  if (!options->write.empty()) return write_trace_file(*trace, options->write) ? 0 : 1;
  nlohmann::json result;
  const bool known = visit_contestant(
      options->contestant, [&](auto& contestant) { result = measure(contestant, *trace, *options); });
  if (!known || result.is_null()) {
    std::cerr << "no contestant " << options->contestant << " or no measure " << options->measure << "\n";
    return 2;
  }
  result.update({{"ours", kOurName},
                 {"malloc", loaded_malloc()},
                 {"blocks", trace->allocations},
                 {"live", trace->live_bytes},
                 {"peak_live", trace->peak_live_bytes}});
  return print_result(result);
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}
