// lobit_bench_pools: measures one contestant on tensors of one size or on one workload and prints a JSON
// object. Run by script/bench pools, which describes the figures.
#include <cstdio>
#include <string>
#include <vector>

#include "bench/pools/tensor_allocators.h"
#include "bench/pools/workloads.h"
#include "bench/program.h"
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
  Workload workload(allocator);
  const std::vector<double> times = workload.run(name, steps);
  // While what the program keeps is live: a pool that has everything back would judge another program.
  return {{"calls", times},
          {"hit_rate", allocator.hit_rate()},
          {"peak_bytes", allocator.peak_bytes()},
          {"recommendations", allocator.recommendations()}};
}

int run(const std::vector<std::string>& arguments) {
  std::string contestant;
  std::string workload;
  size_t bytes = 0;
  size_t count = 0;
  const Option known[] = {
      {"--contestant", &contestant}, {"--workload", &workload}, {"--bytes", &bytes}, {"--count", &count}};
  const bool valid = read_options(arguments, known) && count > 0 &&
                     (bytes > 0) != (workload == "decode" || workload == "prefill" || workload == "mixed");
  nlohmann::json result;
  if (!valid || !visit_tensor_allocator(contestant, [&](const auto& make) {
        result = bytes > 0 ? measure_size(make, bytes, count) : measure_workload(make, workload, count);
      })) {
    std::fprintf(
        stderr,
        "usage: lobit_bench_pools --contestant NAME --bytes N --count SAMPLES\n"
        "       lobit_bench_pools --contestant NAME --workload decode|prefill|mixed --count STEPS\n");
    return 2;
  }
  return print_result(result);
}

}  // namespace
}  // namespace lobit::bench

int main(int argc, char** argv) {
  return lobit::bench::run({argv + 1, argv + argc});
}
