#include "bench/kernels/sampling.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <vector>

namespace lobit::bench {
namespace {

double time_calls(const Contestant& contestant, size_t calls) {
  const double start = thread_seconds();
  for (size_t i = 0; i < calls; ++i) contestant.run();
  return (thread_seconds() - start) / static_cast<double>(calls);
}

double median(std::vector<double> values) {
  const size_t middle = values.size() / 2;
  std::ranges::sort(values);
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void sample_in_turns(std::span<Contestant> contestants, const Sampling& sampling) {
  std::vector<size_t> calls;
  for (const Contestant& contestant : contestants) {
    contestant.run();
    const double once = std::max(time_calls(contestant, 1), 1e-7);
    calls.push_back(static_cast<size_t>(std::ceil(sampling.sample_seconds / once)));
  }
  std::vector<std::vector<double>> samples(contestants.size());
  for (size_t round = 0; round < sampling.rounds; ++round) {
    for (size_t i = 0; i < contestants.size(); ++i)
      samples[i].push_back(time_calls(contestants[i], calls[i]));
  }
  for (size_t i = 0; i < contestants.size(); ++i) contestants[i].seconds = median(std::move(samples[i]));
}

}  // namespace lobit::bench
