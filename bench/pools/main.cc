// lobit_bench_pools: measures one contestant on tensors of one size or on one workload and prints a JSON
// object. Run by script/bench pools, which describes the figures.
#include <charconv>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "bench/pools/tensor_allocators.h"
#include "bench/pools/workloads.h"
#include <nlohmann/json.hpp>

namespace lobit::bench {
namespace {

template <class Make>
nlohmann::json measure_size(const Make& make, size_t bytes, size_t samples) {
  ColdTimes cold;
  StopWatch watch;
  watch.start();
  auto allocator = make();
  cold.creation = watch.elapsed_ns();
  std::vector<TensorHandle> tensors = run_cold(allocator, bytes, cold);
  WarmRun warm_run(allocator, tensors);
  warm_run.run(samples / 4, 5e7);  // caches and running averages become what they are in the long run
  const WarmTimes warm = warm_run.run(samples, 2e8);
  for (const TensorHandle& tensor : tensors) allocator.deallocate(tensor);
  return {{"creation", cold.creation},
          {"first", cold.first},
          {"others", cold.others},
          {"pairs", warm.pairs},
          {"touched", warm.touched}};
}

template <class Make>
nlohmann::json measure_workload(const Make& make, const std::string& name, size_t steps) {
  auto allocator = make();
  const std::vector<double> times = Workload(allocator).run(name, steps);
  return {{"calls", times},
          {"hit_rate", allocator.hit_rate()},
          {"peak_bytes", allocator.peak_bytes()},
          {"recommendations", allocator.recommendations()}};
}

size_t number_of(const std::string& text) {
  size_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && rest == text.data() + text.size() ? number : 0;
}

int run(const std::vector<std::string>& arguments) {
  std::map<std::string, std::string> options;
  for (size_t i = 0; i + 1 < arguments.size(); i += 2) options[arguments[i]] = arguments[i + 1];
  const size_t bytes = number_of(options["--bytes"]);
  const size_t count = number_of(options["--count"]);
  const std::string workload = options["--workload"];
  const bool valid =
      count > 0 && (bytes > 0) != (workload == "decode" || workload == "prefill" || workload == "mixed");
  nlohmann::json result;
  if (!valid || !visit_tensor_allocator(options["--contestant"], [&](const auto& make) {
        result = bytes > 0 ? measure_size(make, bytes, count) : measure_workload(make, workload, count);
      })) {
    std::fprintf(
        stderr,
        "usage: lobit_bench_pools --contestant NAME --bytes N --count SAMPLES\n"
        "       lobit_bench_pools --contestant NAME --workload decode|prefill|mixed --count STEPS\n");
    return 2;
  }
  std::cout << result.dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}
