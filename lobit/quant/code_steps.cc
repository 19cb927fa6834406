#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "lobit/quant/code_steps_internal.h"

namespace lobit::detail {

// Steps lie nearly evenly: with a bucket of equal width for each, almost none is left to move.
std::span<const uint64_t> sort_steps(std::span<uint64_t> workspace, size_t count) {
  constexpr size_t kMostBuckets = 1024;
  const std::span<uint64_t> steps = workspace.first(count);
  const std::span<uint64_t> sorted = workspace.subspan(count, count);
  float least = std::numeric_limits<float>::infinity();
  float last = 0;
  for (const uint64_t step : steps) {
    least = std::min(least, inverse_of(step));
    last = std::max(last, inverse_of(step));
  }
  const size_t buckets = std::min(count, kMostBuckets);
  const float buckets_per_inverse = static_cast<float>(buckets) / (last - least);
  if (!(buckets_per_inverse > 0) || !std::isfinite(buckets_per_inverse)) {  // one place, or one beyond F32
    std::ranges::sort(steps);
    return steps;
  }
  const auto bucket_of = [&](uint64_t step) {
    return std::min(static_cast<size_t>((inverse_of(step) - least) * buckets_per_inverse), buckets - 1);
  };
  std::array<uint32_t, kMostBuckets + 1> places;  // first how many, then where the next one goes
  std::fill_n(places.begin(), buckets + 1, 0u);
  for (const uint64_t step : steps) ++places[bucket_of(step) + 1];
  for (size_t b = 1; b <= buckets; ++b) places[b] += places[b - 1];
  for (const uint64_t step : steps) sorted[places[bucket_of(step)]++] = step;
  for (size_t i = 1; i < count; ++i) {
    const uint64_t step = sorted[i];
    size_t at = i;
    for (; at > 0 && sorted[at - 1] > step; --at) sorted[at] = sorted[at - 1];
    sorted[at] = step;
  }
  return sorted;
}

}  // namespace lobit::detail
