// lobit_bench_allocators: measures one pattern of one contestant at one size and prints {ours, malloc, ns}:
// what `ours` is, whose malloc is loaded, and nanoseconds of one pair for every sample. Run by script/bench
// allocators, which describes the patterns.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "bench/allocators/contestants.h"
#include "bench/allocators/patterns.h"
#include "bench/program.h"
#include <nlohmann/json.hpp>

namespace lobit::bench {
namespace {

struct Options {
  std::string contestant;
  std::string pattern;
  Load load{.bytes = 64, .live = 1};
  size_t samples = 5;
  double sample_seconds = 0.01;
};

std::optional<Options> parse_options(const std::vector<std::string>& arguments) {
  Options options;
  const Option known[] = {
      {"--contestant", &options.contestant}, {"--pattern", &options.pattern},
      {"--bytes", &options.load.bytes},      {"--live", &options.load.live},
      {"--samples", &options.samples},       {"--sample-seconds", &options.sample_seconds},
  };
  const bool good = read_options(arguments, known) && options.load.bytes >= sizeof(uint64_t) &&
                    options.load.live > 0 && options.samples > 0 && options.sample_seconds > 0;
  return good ? std::optional(options) : std::nullopt;
}

// Runs grow until one lasts about as long as a sample; they warm caches and lists on the way.
template <class Pattern>
size_t calibrate(Pattern& pattern, double sample_seconds) {
  constexpr size_t kMostPairs = size_t{1} << 28;
  size_t pairs = 1;
  for (;;) {
    const double seconds = pattern.run(pairs);
    if (seconds >= sample_seconds / 2 || pairs >= kMostPairs) break;
    const double growth = std::clamp(sample_seconds / std::max(seconds, 1e-9), 2.0, 10.0);
    pairs = static_cast<size_t>(std::ceil(static_cast<double>(pairs) * growth));
  }
  return std::max<size_t>(pairs, 4);
}

template <class Pattern>
std::vector<double> sample(Pattern&& pattern, const Options& options) {
  const size_t pairs = calibrate(pattern, options.sample_seconds);
  std::vector<double> samples;
  for (size_t i = 0; i < options.samples; ++i) {
    samples.push_back(1e9 * pattern.run(pairs) / static_cast<double>(pairs));
  }
  return samples;
}

// Empty when there is no such pattern, or when the allocator is for one thread and the pattern needs two.
template <class A>
std::vector<double> measure(A& allocator, const Options& options) {
  using enum Fill;
  const std::string& name = options.pattern;
  const Load load = options.load;
  if (name == "pair") return sample(PairPattern<A, kFirstBytes>(allocator, load), options);
  if (name == "burst") return sample(BurstPattern<A>(allocator, load), options);
  if (name == "replace") return sample(ReplacePattern<A, kFirstBytes>(allocator, load), options);
  if (name == "pair-filled") return sample(PairPattern<A, kWholeBlock>(allocator, load), options);
  if (name == "replace-filled") return sample(ReplacePattern<A, kWholeBlock>(allocator, load), options);
  if constexpr (A::kThreadSafe) {
    if (name == "hand-over") return sample(HandOverPattern<A>(allocator, load), options);
    if (name == "parallel") return sample(ParallelPattern<A>(allocator, load), options);
  }
  return {};
}

int run(const std::vector<std::string>& arguments) {
  const std::optional<Options> options = parse_options(arguments);
  std::vector<double> samples;
  if (!options || !visit_contestant(options->contestant,
                                    [&](auto& contestant) { samples = measure(contestant, *options); })) {
    std::cerr << "usage: lobit_bench_allocators --contestant NAME --pattern NAME --bytes N --live BLOCKS\n"
                 "         [--samples N] [--sample-seconds S]\n  contestants: "
              << kContestantNames << "\n";
    return 2;
  }
  if (samples.empty()) {
    std::cerr << options->contestant << " cannot run the pattern " << options->pattern << "\n";
    return 1;
  }
  return print_result({{"ours", kOurName}, {"malloc", loaded_malloc()}, {"ns", samples}});
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}
