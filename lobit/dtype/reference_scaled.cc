#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "lobit/base/check.h"
#include "lobit/dtype/half.h"
#include "lobit/dtype/reference.h"
#include "lobit/dtype/reference_internal.h"
#include "lobit/dtype/scale_search_internal.h"

namespace lobit::reference {
namespace {

// Every sum below runs over the group in order, in F32, with one rounding for each operation.

// The code of `scaled`, a value over the scale.
template <Encoding kTo>
float nearest_code(float scaled) {
  constexpr auto kSearch = kScaleSearch<kTo>;
  if constexpr (kSearch.is_ternary()) {
    return std::fabs(scaled) >= 0.5f ? std::copysign(1.0f, scaled) : 0.0f;
  }
  return (std::clamp(scaled, kSearch.low, kSearch.high) + kRounder) - kRounder;
}

// The code that encode() gives.
template <Encoding kTo>
float direct_code(float scaled) {
  constexpr auto kSearch = kScaleSearch<kTo>;
  if constexpr (kSearch.divisor > 0) return std::round(scaled);
  return std::min(std::trunc(scaled + (0.5f - kSearch.low)), kSearch.high - kSearch.low) + kSearch.low;
}

float inverse_of(float scale) {
  return scale == 0.0f ? 0.0f : 1.0f / scale;
}

// What least squares needs of the codes q for one inverse scale.
struct Fit {
  float xq = 0;  // sum of x * q
  float qq = 0;  // sum of q * q, an exact integer

  float scale() const { return xq / std::max(qq, 1.0f); }
  float score() const {
    return xq * xq / std::max(qq, 1.0f);
  }  // by how much scale() lowers the squared error
};

template <Encoding kTo, size_t N>
Fit fit(const Values<N>& x, float inverse) {
  Fit sums;
  for (const float v : x) {
    const float q = nearest_code<kTo>(v * inverse);
    sums.xq += v * q;
    sums.qq += q * q;
  }
  return sums;
}

// The squared error with `scale`, which is an F16, beside the codes that `code` gives for value * inverse.
template <size_t N, typename Code>
float squared_error(const Values<N>& x, float scale, float inverse, Code code) {
  float sum = 0;
  for (const float v : x) {
    const float error = v - scale * code(v * inverse);  // the product is exact
    sum += error * error;
  }
  return sum;
}

struct Extent {
  float peak = 0;     // the first value of largest magnitude
  float squares = 0;  // sum of value^2
};

template <size_t N>
Extent extent_of(const Values<N>& x) {
  Extent e;
  for (const float v : x) {
    if (std::fabs(v) > std::fabs(e.peak)) e.peak = v;
    e.squares += v * v;
  }
  return e;
}

// 1 over what the tried multiples refer to.
template <Encoding kTo, size_t N>
float search_unit(const Extent& e) {
  constexpr auto kSearch = kScaleSearch<kTo>;
  if constexpr (kSearch.unit == SearchUnit::kSignedPeak) return 1.0f / e.peak;
  if constexpr (kSearch.unit == SearchUnit::kPeak) return 1.0f / std::fabs(e.peak);
  return 1.0f / std::sqrt(e.squares * (1.0f / static_cast<float>(N)));
}

// The F16 scale with which the group has a smaller squared error than with the direct one, if one is found.
template <Encoding kTo, size_t N>
std::optional<uint16_t> better_scale(const Values<N>& x) {
  constexpr auto kSearch = kScaleSearch<kTo>;
  if (!std::ranges::all_of(x, [](float v) { return std::isfinite(v); })) return std::nullopt;
  const Extent extent = extent_of(x);
  const float direct = (kSearch.divisor > 0 ? std::fabs(extent.peak) : extent.peak) / kSearch.divisor;
  if (std::fabs(extent.peak) < kTinyGroup || std::fabs(direct) >= 65520.0f) return std::nullopt;
  const float direct_error =
      squared_error(x, f16_to_f32(f32_to_f16(direct)), 1.0f / direct, direct_code<kTo>);

  const float unit = search_unit<kTo, N>(extent);
  Fit best;
  for (const float multiple : kSearch.multiples) {
    const Fit tried = fit<kTo>(x, multiple * unit);
    if (tried.score() > best.score()) best = tried;
  }
  // The codes nearest to the fitted scale fit no worse.
  const float refined = fit<kTo>(x, inverse_of(best.scale())).scale();
  const uint16_t stored = f32_to_f16(refined);
  const float scale = f16_to_f32(stored);
  const float error = squared_error(x, scale, inverse_of(scale), nearest_code<kTo>);
  if (scale == 0.0f || !(error < direct_error * kClearlyLess)) return std::nullopt;
  return stored;
}

template <Encoding kTo, size_t N>
Codes<N> nearest_codes(const Values<N>& x, uint16_t scale) {
  const float inverse = inverse_of(f16_to_f32(scale));
  Codes<N> codes;
  for (size_t i = 0; i < N; ++i) codes[i] = static_cast<int8_t>(nearest_code<kTo>(x[i] * inverse));
  return codes;
}

template <Encoding kTo, typename Block, size_t N>
EncodeCounts encode_groups(const float* values, void* blocks, size_t count) {
  const EncodeCounts counts = encode(kTo, values, blocks, count);
  const auto* from = reinterpret_cast<const std::byte*>(values);
  auto* to = static_cast<std::byte*>(blocks);
  for (size_t i = 0; i < count / N; ++i) {
    Values<N> x;
    std::memcpy(x.data(), from + i * sizeof x, sizeof x);
    const std::optional<uint16_t> scale = better_scale<kTo>(x);
    if (!scale) continue;
    Block block;
    block.d = *scale;
    pack(nearest_codes<kTo>(x, *scale), block);
    std::memcpy(to + i * sizeof block, &block, sizeof block);
  }
  return counts;
}

}  // namespace

EncodeCounts encode_scaled(Encoding to, const float* values, void* blocks, size_t count) {
  LOBIT_DCHECK(count % traits(to).block_elements == 0);
  switch (to) {
    case Encoding::kQ8_0:
      return encode_groups<Encoding::kQ8_0, BlockQ8_0, 32>(values, blocks, count);
    case Encoding::kQ4_0:
      return encode_groups<Encoding::kQ4_0, BlockQ4_0, 32>(values, blocks, count);
    case Encoding::kQ5_0:
      return encode_groups<Encoding::kQ5_0, BlockQ5_0, 32>(values, blocks, count);
    case Encoding::kQ2_0:
      return encode_groups<Encoding::kQ2_0, BlockQ2_0, 64>(values, blocks, count);
    case Encoding::kTQ2_0:
      return encode_groups<Encoding::kTQ2_0, BlockTQ2_0, 256>(values, blocks, count);
    case Encoding::kTQ1_0:
      return encode_groups<Encoding::kTQ1_0, BlockTQ1_0, 256>(values, blocks, count);
    case Encoding::kQ4_1:
    case Encoding::kQ5_1:
      return encode_scaled_affine(to, values, blocks, count);
    default:
      LOBIT_CHECK(false && "expected an encoding with a code_range() or an affine_top_code()");
      return {};
  }
}

}  // namespace lobit::reference
