#include "lobit/quant/exact_affine.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

#include "lobit/base/check.h"
#include "lobit/dtype/block_codes.h"
#include "lobit/dtype/half.h"
#include "lobit/quant/code_steps_internal.h"

namespace lobit {
namespace {

constexpr size_t kGroup = 32;

using Values = std::array<double, kGroup>;

// The codes that the smallest value may get, before rounding: where they are below 0, that value is cut. From
// -0.75 to 2.
constexpr int kLows = 12;
constexpr double low_code(int index) {
  return (index - 3) * 0.25;
}
// How far the code of the largest value may be from the last one.
constexpr double kBelowTop = 4;
constexpr double kAboveTop = 1;
constexpr int kMostRefinements = 16;

// Least squares for one assignment of codes; z is a value less the mean of all.
struct Fit {
  double zq = 0;
  double q = 0;
  double qq = 0;

  double squares() const { return qq - q * q / kGroup; }  // of the codes less their mean
  double scale() const { return zq / squares(); }
  double code_of_mean() const { return q / kGroup; }
  // Whether it lowers the squared error more than `other`: by zq^2 / squares().
  bool is_better_than(const Fit& other) const {
    return zq * zq * std::max(other.squares(), 0.5) > other.zq * other.zq * std::max(squares(), 0.5);
  }

  void add(double z, double code) {
    zq += z * code;
    q += code;
    qq += code * code;
  }
};

double round_between(double code, double top) {
  constexpr double kRounder = 0x1.8p52;  // rounds to the nearest integer, halves to even
  return (std::clamp(code, 0.0, top) + kRounder) - kRounder;
}

Fit fit(const Values& z, double inverse, double code_of_mean, double top) {
  Fit sums;
  for (const double v : z) sums.add(v, round_between(v * inverse + code_of_mean, top));
  return sums;
}

struct Group {
  std::array<float, kGroup> x;
  Values z;
  double mean;
  double min;
  double spread;
  double top;

  Group(std::span<const float, kGroup> values, int top_code) : mean(0), top(top_code) {
    std::ranges::copy(values, x.begin());
    for (const float v : x) mean += v;
    mean /= kGroup;
    for (size_t i = 0; i < kGroup; ++i) z[i] = x[i] - mean;
    const auto [least, most] = std::ranges::minmax(x);
    min = least;
    spread = double{most} - least;
  }
};

// The best assignment of those in which the smallest value has the code `low` before rounding.
Fit sweep(const Group& group, double low) {
  // While the largest value's code moves by so much, no other one's moves by more.
  constexpr auto kMostSteps = static_cast<size_t>(kGroup * (kBelowTop + kAboveTop + 1));
  std::array<uint64_t, 2 * kMostSteps> steps;
  size_t count = 0;
  const double first = (group.top - kBelowTop - low) / group.spread;
  const double last = (group.top + kAboveTop - low) / group.spread;
  Fit sums;
  for (size_t i = 0; i < kGroup; ++i) {
    const double above = group.x[i] - group.min;
    const double code = round_between(above * first + low, group.top);
    sums.add(group.z[i], code);
    if (!(above > 0)) continue;
    const double reciprocal = 1 / above;
    for (int next = static_cast<int>(code) + 1; next <= static_cast<int>(group.top); ++next) {
      const double inverse = (next - 0.5 - low) * reciprocal;
      if (inverse > last) break;
      LOBIT_DCHECK(count < kMostSteps);
      steps[count++] = detail::step_at(static_cast<float>(inverse), i, next);
    }
  }
  Fit best = sums;
  for (const uint64_t step : detail::sort_steps(steps, count)) {
    sums.zq += group.z[detail::index_of(step)];
    sums.q += 1;
    sums.qq += 2 * detail::code_of(step) - 1;
    if (sums.is_better_than(best)) best = sums;
  }
  return best;
}

Fit refined(const Group& group, Fit best) {
  for (int i = 0; i < kMostRefinements && best.scale() > 0; ++i) {
    const Fit next = fit(group.z, 1 / best.scale(), best.code_of_mean(), group.top);
    if (!next.is_better_than(best)) break;
    best = next;
  }
  return best;
}

// A block that was looked at.
struct Candidate {
  uint16_t scale = 0;  // F16
  uint16_t minimum = 0;
  double error = std::numeric_limits<double>::infinity();
};

uint8_t nearest_code(float value, double scale, double minimum, double top) {
  return static_cast<uint8_t>(round_between(scale > 0 ? (value - minimum) / scale : 0, top));
}

// What decodes from a code. The product is exact.
float value_of(uint8_t code, float scale, float minimum) {
  return scale * static_cast<float>(code) + minimum;
}

double squared_error(const Group& group, uint16_t scale, uint16_t minimum) {
  const float d = f16_to_f32(scale);
  const float m = f16_to_f32(minimum);
  double sum = 0;
  for (const float v : group.x) {
    const double error = double{v} - value_of(nearest_code(v, d, m, group.top), d, m);
    sum += error * error;
  }
  return sum;
}

// The F16 next to `half`, `step` of 1, 0 or -1 away in magnitude.
uint16_t neighbour(uint16_t half, int step) {
  const int magnitude = std::clamp((half & 0x7FFF) + step, 0, 0x7C00);
  return static_cast<uint16_t>((half & 0x8000) | magnitude);
}

// The F16 scale and minimum with the least error next to those of the fit.
Candidate best_stored(const Group& group, const Fit& found) {
  Candidate best;
  const double code_of_mean = found.code_of_mean();
  const uint16_t nearest = f32_to_f16(static_cast<float>(found.scale()));
  for (const int scale_step : {0, -1, 1}) {
    const uint16_t scale = neighbour(nearest, scale_step);
    const double exact = group.mean - f16_to_f32(scale) * code_of_mean;
    for (const int step : {0, -1, 1}) {
      const uint16_t minimum = neighbour(f32_to_f16(static_cast<float>(exact)), step);
      const double error = squared_error(group, scale, minimum);
      if (error < best.error) best = {scale, minimum, error};
    }
  }
  return best;
}

bool is_exact(const Group& group, uint16_t scale, uint16_t minimum) {
  const float d = f16_to_f32(scale);
  const float m = f16_to_f32(minimum);
  return std::ranges::all_of(group.x,
                             [&](float v) { return value_of(nearest_code(v, d, m, group.top), d, m) == v; });
}

// A scale and a minimum without error, whatever codes they give the smallest and the largest value. Their
// distance, the product of an F16 and a code, has at most 16 significant bits, so most groups of F32 values
// are seen not to have such a scale at the first look.
std::optional<Candidate> without_error(const Group& group) {
  constexpr uint64_t kBelow16Bits = (uint64_t{1} << (52 - 15)) - 1;
  if ((std::bit_cast<uint64_t>(group.spread) & kBelow16Bits) != 0) return std::nullopt;
  const int top = static_cast<int>(group.top);
  for (int span = top; span > 0; --span) {
    const uint16_t scale = f32_to_f16(static_cast<float>(group.spread / span));
    for (int low = 0; low + span <= top; ++low) {
      const double exact = group.min - double{f16_to_f32(scale)} * low;
      const uint16_t minimum = f32_to_f16(static_cast<float>(exact));
      if (scale != 0 && is_exact(group, scale, minimum)) return Candidate{scale, minimum, 0};
    }
  }
  return std::nullopt;
}

Candidate best_candidate(const Group& group) {
  if (const auto exact = without_error(group)) return *exact;
  Fit best;
  for (int i = 0; i < kLows; ++i) {
    const Fit found = refined(group, sweep(group, low_code(i)));
    if (found.is_better_than(best)) best = found;
  }
  return best.squares() > 0 ? best_stored(group, best) : Candidate{};
}

}  // namespace

void improve_affine_block(Encoding to, std::span<const float, 32> x, double known, std::byte* block) {
  const Group group(x, affine_top_code(to).value());
  if (!(group.spread > 0)) return;
  const Candidate best = best_candidate(group);
  if (!(best.error < known)) return;
  std::array<uint8_t, kGroup> codes;
  const double d = f16_to_f32(best.scale);
  const double m = f16_to_f32(best.minimum);
  std::ranges::transform(group.x, codes.begin(), [&](float v) { return nearest_code(v, d, m, group.top); });
  store_affine_block(to, best.scale, best.minimum, codes.data(), block);
}

}  // namespace lobit
