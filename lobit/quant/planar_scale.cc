#include "lobit/quant/planar_scale.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <optional>
#include <span>
#include <vector>

#include "lobit/dtype/block_codes.h"
#include "lobit/dtype/reference.h"
#include "lobit/dtype/scale_search_internal.h"
#include "lobit/kernels/planar.h"
#include "lobit/kernels/planar_fit.h"
#include "lobit/quant/scale_solver.h"

namespace lobit {
namespace {

// Among so many values, evenly taken from a longer group, the start of the refinement is found.
constexpr size_t kSample = 1024;
constexpr size_t kMostSorted = 1024;
constexpr size_t kMostSortedTernary = 65536;
constexpr int kRefinements = 3;
constexpr int kMostRefinements = 64;

// Inverse scales to try, as multiples of 1 / the root mean square: long groups have outliers, and the best
// scale lets the last code fall short of them.
constexpr std::array kEightBits{8.0, 11.0, 15.0, 20.0, 26.0, 33.0, 40.0, 48.0};
constexpr std::array kFourBits{1.2, 1.6, 2.0, 2.4, 2.8, 3.2, 3.6, 4.2};
constexpr std::array kTwoBits{0.35, 0.5, 0.64, 0.78, 0.92, 1.06, 1.2};
constexpr std::array kTernary{0.25, 0.4, 0.6, 0.8, 1.0};
// And as multiples of the direct inverse, which suit short groups.
constexpr std::array kDirect{0.92, 0.95, 0.98, 1.0, 1.04, 1.1, 1.2};

std::span<const double> multiples(CodeRange range) {
  if (range.high >= 127) return kEightBits;
  if (range.high >= 7) return kFourBits;
  if (range.is_symmetric()) return kTernary;
  return kTwoBits;
}

bool is_usable(float scale) {
  return std::isfinite(scale) && std::isfinite(1.0f / scale);
}

// Values evenly taken from a group that is longer than a sample, or else the group itself.
std::span<const float> sample_of(std::span<const float> group, std::array<float, kSample>& sample) {
  if (group.size() <= sample.size()) return group;
  for (size_t i = 0; i < sample.size(); ++i) sample[i] = group[i * group.size() / sample.size()];
  return sample;
}

float first_scale(std::span<const float> sample, CodeRange range, float direct) {
  double squares = 0;
  for (const float v : sample) squares += double{v} * v;
  const double unit = 1 / std::sqrt(squares / static_cast<double>(sample.size()));
  PlanarFit best;
  const auto attempt = [&](double inverse) {
    if (!std::isfinite(inverse)) return;
    const PlanarFit tried =
        kernels::fit_planar(range, sample.data(), sample.size(), static_cast<float>(inverse));
    if (tried.score() > best.score()) best = tried;
  };
  for (const double sign : {1.0, -1.0}) {
    if (sign < 0 && range.is_symmetric()) break;
    for (const double multiple : multiples(range)) attempt(sign * multiple * unit);
    for (const double multiple : kDirect) attempt(sign * multiple / direct);
  }
  return best.scale();
}

// Whether every value is a code times the scale, as decoding rounds it.
bool is_exact(std::span<const float> group, CodeRange range, float scale) {
  const float inverse = 1.0f / scale;
  return std::ranges::all_of(group, [&](float v) {
    const float code = (v * inverse + reference::kRounder) - reference::kRounder;
    return code >= static_cast<float>(range.low) && code <= static_cast<float>(range.high) &&
           code * scale == v;
  });
}

// A scale without error, whatever code it gives the value of largest magnitude, `peak`. That value over the
// code is off by a last bit at most where decoding has rounded it.
std::optional<float> scale_without_error(std::span<const float> group, CodeRange range, float peak) {
  // Another value's code for the code 1 of the peak: times the peak's it must be nearly whole, which spares
  // most groups the rest.
  const auto other =
      std::ranges::find_if(group, [&](float v) { return v != 0 && std::fabs(v) != std::fabs(peak); });
  const float ratio = other == group.end() ? 0 : *other / peak;
  constexpr float kRoundings = 1e-4f;  // more than those of 127 * ratio
  for (int magnitude = std::max(range.high, -range.low); magnitude > 0; --magnitude) {
    const float scaled = ratio * static_cast<float>(magnitude);
    if (std::fabs(scaled - ((scaled + reference::kRounder) - reference::kRounder)) > kRoundings) continue;
    const auto code = static_cast<float>(magnitude <= range.high ? magnitude : -magnitude);
    const auto nearest = std::bit_cast<uint32_t>(peak / code);
    for (const uint32_t bits : {nearest, nearest - 1, nearest + 1}) {
      const auto scale = std::bit_cast<float>(bits);
      if (scale * code == peak && is_usable(scale) && is_exact(group, range, scale)) return scale;
    }
  }
  return std::nullopt;
}

// Codes nearest to the scale, and the best scale for those codes, in turn.
float refined(std::span<const float> group, CodeRange range, float scale, int most) {
  for (int i = 0; i < most && is_usable(scale); ++i) {
    const float next = kernels::fit_planar(range, group.data(), group.size(), 1.0f / scale).scale();
    if (next == scale) break;
    scale = next;
  }
  return scale;
}

float sorted_scale(std::span<const float> group, CodeRange range, float scale) {
  if (range.low == -1 && range.high == 1) {
    std::vector<uint32_t> workspace(group.size());
    return static_cast<float>(exact_ternary_scale(group, workspace));
  }
  std::vector<uint64_t> workspace(workspace_size(group.size(), range));
  const double inverse = 1 / std::fabs(double{scale});
  return static_cast<float>(exact_scale(group, range, {inverse / 2, inverse * 2}, workspace));
}

bool can_be_sorted(size_t count, CodeRange range) {
  return count <= (range.low == -1 && range.high == 1 ? kMostSortedTernary : kMostSorted);
}

}  // namespace

float planar_scale(Encoding to, QuantizeMethod method, std::span<const float> group, float direct) {
  const auto range = code_range(to);
  if (method == QuantizeMethod::kDirect || !range || group.empty() || !is_usable(direct)) return direct;
  PlanarExtent extent;
  kernels::measure_planar(Encoding::kQ4_0, group.data(), group.size(), extent);  // the peak with its sign
  const auto peak = std::bit_cast<float>(extent.peak);
  if (!(std::fabs(peak) >= kTinyGroup) || !std::isfinite(peak)) return direct;

  const bool exact = method == QuantizeMethod::kExact;
  float best = direct;
  const auto error_of = [&](float scale) {
    return kernels::planar_error(*range, group.data(), group.size(), scale);
  };
  const double direct_error = error_of(direct);
  if (direct_error == 0) return direct;
  if (const auto scale = scale_without_error(group, *range, peak)) return *scale;
  double least = direct_error * double{reference::kClearlyLess};
  const auto consider = [&](float scale) {
    if (!is_usable(scale)) return;
    const double error = error_of(scale);
    if (error >= least) return;
    best = scale;
    least = error;
  };
  std::array<float, kSample> sample;
  const float start = first_scale(sample_of(group, sample), *range, direct);
  consider(refined(group, *range, start, kRefinements));
  if (!exact) return best;
  consider(can_be_sorted(group.size(), *range) ? sorted_scale(group, *range, best)
                                               : refined(group, *range, best, kMostRefinements));
  return best;
}

}  // namespace lobit
