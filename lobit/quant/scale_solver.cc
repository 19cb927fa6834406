#include "lobit/quant/scale_solver.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "lobit/base/check.h"
#include "lobit/quant/code_steps_internal.h"

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
      workspace[steps++] = detail::step_at(static_cast<float>(inverse), i, code);
    }
  }
  Fit best = fit;
  for (const uint64_t step : detail::sort_steps(workspace, steps)) {
    fit.xq += std::fabs(values[detail::index_of(step)]);
    fit.qq += 2 * detail::code_of(step) - 1;
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
