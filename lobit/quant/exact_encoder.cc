#include "lobit/quant/exact_encoder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "lobit/dtype/block_codes.h"
#include "lobit/dtype/half.h"
#include "lobit/quant/exact_affine.h"
#include "lobit/quant/scale_solver.h"

namespace lobit {
namespace {

// Scales of Q8_0 that give the peak a lower code than this are not looked at: among 30 times as many
// assignments, they hold a better one for hardly any group.
constexpr int kLeastPeakCode = 100;

template <Encoding kTo>
constexpr CodeRange kCodes{};
template <>
constexpr CodeRange kCodes<Encoding::kQ8_0>{-127, 127};
template <>
constexpr CodeRange kCodes<Encoding::kQ4_0>{-8, 7};
template <>
constexpr CodeRange kCodes<Encoding::kQ5_0>{-16, 15};
template <>
constexpr CodeRange kCodes<Encoding::kQ2_0>{-1, 2};
template <>
constexpr CodeRange kCodes<Encoding::kTQ2_0>{-1, 1};
template <>
constexpr CodeRange kCodes<Encoding::kTQ1_0>{-1, 1};

template <size_t N>
using Group = std::array<float, N>;

// Nearest codes for a scale, and what they cost.
template <size_t N>
struct Candidate {
  uint16_t scale = 0;  // F16
  std::array<int8_t, N> codes;
  double error = std::numeric_limits<double>::infinity();
};

template <size_t N>
Candidate<N> candidate(const Group<N>& x, CodeRange range, uint16_t scale) {
  Candidate<N> c;
  c.scale = scale;
  c.error = 0;
  const double d = f16_to_f32(scale);
  const double inverse = d == 0 ? 0 : 1 / d;
  constexpr double kRounder = 0x1.8p52;  // rounds to the nearest integer, halves to even
  for (size_t i = 0; i < N; ++i) {
    const double within = std::clamp<double>(x[i] * inverse, range.low, range.high);
    const double code = (within + kRounder) - kRounder;
    const double error = x[i] - d * code;
    c.codes[i] = static_cast<int8_t>(code);
    c.error += error * error;
  }
  return c;
}

// Whether every value is a code times the scale.
template <size_t N>
bool is_exact(const Group<N>& x, CodeRange range, uint16_t scale) {
  const float d = f16_to_f32(scale);
  return std::ranges::all_of(x, [&](float v) {
    const float code = std::round(v / d);
    return std::fabs(code) <= static_cast<float>(range.high) && code * d == v;
  });
}

// A scale without error that gives the peak any code. The product of an F16 and a code of 7 bits has at most
// 18 significant bits, so most groups of F32 values are seen not to have one at the first look.
template <size_t N>
std::optional<uint16_t> scale_without_error(const Group<N>& x, CodeRange range) {
  float peak = 0;
  for (const float v : x) peak = std::max(peak, std::fabs(v));
  if ((std::bit_cast<uint32_t>(peak) & 0x3F) != 0) return std::nullopt;
  for (int code = range.high; code > 0; --code) {
    const uint16_t scale = f32_to_f16(peak / static_cast<float>(code));
    if (scale == 0 || f16_to_f32(scale) * static_cast<float>(code) != peak) continue;
    if (is_exact(x, range, scale)) return scale;
  }
  return std::nullopt;
}

template <Encoding kTo, size_t N>
double best_scale(const Group<N>& x, double known) {
  constexpr CodeRange kRange = kCodes<kTo>;
  if constexpr (kRange.low == -1 && kRange.high == 1) {
    std::array<uint32_t, N> workspace;
    return exact_ternary_scale(x, workspace);
  } else {
    std::array<uint64_t, workspace_size(N, kRange)> workspace;
    InverseWindow window = inverses_below(known, x, kRange);
    if constexpr (kTo == Encoding::kQ8_0) {
      float peak = 0;
      for (const float v : x) peak = std::max(peak, std::fabs(v));
      window.low = std::min(window.high, kLeastPeakCode / double{peak});
    }
    return exact_scale(x, kRange, window, workspace);
  }
}

// The F16 next to `half`, `step` of 1 or -1 away in magnitude.
uint16_t neighbour(uint16_t half, int step) {
  const int magnitude = std::clamp((half & 0x7FFF) + step, 0, 0x7C00);
  return static_cast<uint16_t>((half & 0x8000) | magnitude);
}

template <Encoding kTo, size_t N>
Candidate<N> best_candidate(const Group<N>& x, double known) {
  constexpr CodeRange kRange = kCodes<kTo>;
  if constexpr (kTo == Encoding::kQ8_0) {
    if (const auto scale = scale_without_error(x, kRange)) return candidate(x, kRange, *scale);
  }
  const uint16_t nearest = f32_to_f16(static_cast<float>(best_scale<kTo>(x, known)));
  Candidate<N> best;
  for (const uint16_t scale : {nearest, neighbour(nearest, -1), neighbour(nearest, 1)}) {
    const Candidate<N> tried = candidate(x, kRange, scale);
    if (tried.error < best.error) best = tried;
  }
  return best;
}

template <size_t N>
double squared_error(const Group<N>& x, const Group<N>& stored) {
  double sum = 0;
  for (size_t i = 0; i < N; ++i) {
    const double error = double{x[i]} - stored[i];
    sum += error * error;
  }
  return sum;
}

template <Encoding kTo, size_t N>
EncodeCounts encode_exact(const void* values, void* blocks, size_t count) {
  const EncodeCounts counts = kernels::scaled_encoder(kTo)(values, blocks, count);
  const auto* from = static_cast<const std::byte*>(values);
  auto* to = static_cast<std::byte*>(blocks);
  for (size_t i = 0; i < count / N; ++i) {
    Group<N> x;
    std::memcpy(x.data(), from + i * sizeof x, sizeof x);
    std::byte* const block = to + i * traits(kTo).block_bytes;
    Group<N> stored;
    kernels::decoder(kTo)(block, stored.data(), N);
    const double error = squared_error(x, stored);
    // Nothing to gain, or a group that is counted.
    if (error == 0 || !std::isfinite(error)) continue;
    if constexpr (kTo == Encoding::kQ4_1 || kTo == Encoding::kQ5_1) {
      improve_affine_block(kTo, x, error, block);
    } else {
      const Candidate<N> best = best_candidate<kTo>(x, error);
      if (best.error < error) store_block(kTo, best.scale, best.codes.data(), block);
    }
  }
  return counts;
}

}  // namespace

kernels::EncodeFn exact_encoder(Encoding to) {
  switch (to) {
    case Encoding::kQ8_0:
      return encode_exact<Encoding::kQ8_0, 32>;
    case Encoding::kQ4_0:
      return encode_exact<Encoding::kQ4_0, 32>;
    case Encoding::kQ4_1:
      return encode_exact<Encoding::kQ4_1, 32>;
    case Encoding::kQ5_0:
      return encode_exact<Encoding::kQ5_0, 32>;
    case Encoding::kQ5_1:
      return encode_exact<Encoding::kQ5_1, 32>;
    case Encoding::kQ2_0:
      return encode_exact<Encoding::kQ2_0, 64>;
    case Encoding::kTQ2_0:
      return encode_exact<Encoding::kTQ2_0, 256>;
    case Encoding::kTQ1_0:
      return encode_exact<Encoding::kTQ1_0, 256>;
    default:
      return nullptr;
  }
}

}  // namespace lobit
