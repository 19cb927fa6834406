#include "lobit/quant/scale_solver.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "lobit/base/check.h"

namespace lobit {
namespace {

// Least squares for one assignment.
struct Fit {
  double xq = 0;
  double qq = 0;

  double scale() const { return qq > 0 ? xq / qq : 0; }
  // Whether it lowers the squared error more than `other`: by xq^2 / qq.
  bool is_better_than(const Fit& other) const {
    return xq * xq * std::max(other.qq, 1.0) > other.xq * other.xq * qq;
  }
};

// A step of one value's code to `code`, ordered by the inverse scale at which it happens.
uint64_t step_at(float inverse, size_t index, int code) {
  return uint64_t{std::bit_cast<uint32_t>(inverse)} << 32 | index << 8 | static_cast<unsigned>(code);
}

float inverse_of(uint64_t step) {
  return std::bit_cast<float>(static_cast<uint32_t>(step >> 32));
}

// Sorts the first `count` numbers, with as much room again behind them, and returns where the sorted ones
// are. Steps lie nearly evenly: with a bucket of equal width for each, almost none is left to move.
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

// The best assignment for scales of one sign: `sign` * scale > 0.
Fit sweep(std::span<const float> values, CodeRange codes, float sign, InverseWindow window,
          std::span<uint64_t> workspace) {
  Fit fit;
  size_t steps = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double magnitude = std::fabs(values[i]);
    if (magnitude == 0) continue;
    const double reciprocal = 1 / magnitude;
    const int most = values[i] * sign > 0 ? codes.high : -codes.low;
    const int first = static_cast<int>(std::min<double>(most, std::floor(magnitude * window.low + 0.5)));
    fit.xq += magnitude * first;
    fit.qq += static_cast<double>(first) * first;
    for (int code = first + 1; code <= most; ++code) {
      const double inverse = (code - 0.5) * reciprocal;
      if (inverse > window.high) break;
      workspace[steps++] = step_at(static_cast<float>(inverse), i, code);
    }
  }
  Fit best = fit;
  for (const uint64_t step : sort_steps(workspace, steps)) {
    const int code = static_cast<int>(step & 0xFF);
    fit.xq += std::fabs(values[step >> 8 & 0xFFFFFF]);
    fit.qq += 2 * code - 1;
    if (fit.is_better_than(best)) best = fit;
  }
  return best;
}

}  // namespace

InverseWindow inverses_below(double known, std::span<const float> values, CodeRange codes) {
  float peak = 0;
  for (const float v : values) peak = std::max(peak, std::fabs(v));
  const double reached = peak - std::sqrt(known);  // what the last code of the peak's side must reach
  const double last = std::max(codes.high, -codes.low);
  // Rounded up by more than the roundings above.
  return {0, reached > 0 ? last / reached * (1 + 1e-9) : std::numeric_limits<double>::infinity()};
}

double exact_scale(std::span<const float> values, CodeRange codes, InverseWindow window,
                   std::span<uint64_t> workspace) {
  LOBIT_DCHECK(workspace.size() >= workspace_size(values.size(), codes) && values.size() <= size_t{1} << 24);
  const Fit positive = sweep(values, codes, 1.0f, window, workspace);
  if (codes.is_symmetric()) return positive.scale();
  const Fit negative = sweep(values, codes, -1.0f, window, workspace);
  return negative.is_better_than(positive) ? -negative.scale() : positive.scale();
}

double exact_ternary_scale(std::span<const float> values, std::span<uint32_t> workspace) {
  LOBIT_DCHECK(workspace.size() >= values.size());
  // Magnitudes are ordered like their bit patterns.
  for (size_t i = 0; i < values.size(); ++i) workspace[i] = std::bit_cast<uint32_t>(std::fabs(values[i]));
  std::sort(workspace.begin(), workspace.begin() + static_cast<ptrdiff_t>(values.size()), std::greater<>());
  Fit fit;
  Fit best;
  for (const uint32_t bits : workspace.first(values.size())) {
    fit.xq += std::bit_cast<float>(bits);
    fit.qq += 1;
    if (fit.is_better_than(best)) best = fit;
  }
  return best.scale();
}

}  // namespace lobit
