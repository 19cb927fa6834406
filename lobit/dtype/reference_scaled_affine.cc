// encode_scaled() for the encodings with a minimum beside the scale, Q4_1 and Q5_1.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "lobit/dtype/half.h"
#include "lobit/dtype/reference.h"
#include "lobit/dtype/reference_internal.h"
#include "lobit/dtype/scale_search_internal.h"

namespace lobit::reference {
namespace {

// Every sum below runs over the group in order, in F32, with one rounding for each operation.

constexpr float kPart = 1.0f / 32;  // of one value in a mean

float code_between(float code, float top) {
  return (std::clamp(code, 0.0f, top) + kRounder) - kRounder;
}

float inverse_of(float scale) {
  return scale == 0.0f ? 0.0f : 1.0f / scale;
}

// What least squares needs of the codes q for one grid; z is a value less the mean of all.
struct AffineFit {
  float zq = 0;  // sum of z * q
  float q = 0;   // sum of q, an exact integer
  float qq = 0;  // sum of q * q, an exact integer

  // The sum of the squares of the codes less their mean, exact; of equal codes 0, where any divisor serves.
  float codes() const { return std::max(qq - q * q * kPart, 0.5f); }
  float scale() const { return zq / codes(); }
  float score() const { return zq * zq / codes(); }  // by how much scale() lowers the squared error
  float code_of_mean() const { return q * kPart; }
};

// The codes nearest to z * inverse + code_of_mean.
template <Encoding kTo>
AffineFit affine_fit(const Values<32>& z, float inverse, float code_of_mean) {
  AffineFit sums;
  for (const float v : z) {
    const float q = code_between(v * inverse + code_of_mean, kRangeSearch<kTo>.top);
    sums.zq += v * q;
    sums.q += q;
    sums.qq += q * q;
  }
  return sums;
}

struct Stored {
  uint16_t scale;  // F16
  uint16_t minimum;
};

// The squared error of what the block decodes to with the codes that `code` gives for each value.
template <typename Code>
float squared_error(const Values<32>& x, Stored stored, Code code) {
  const float d = f16_to_f32(stored.scale);
  const float m = f16_to_f32(stored.minimum);
  float sum = 0;
  for (const float v : x) {
    const float error = v - (d * code(v) + m);  // the product is exact
    sum += error * error;
  }
  return sum;
}

struct Extent {
  float min;
  float spread;
  float mean;
};

Extent extent_of(const Values<32>& x) {
  float min = x[0];
  float max = x[0];
  float sum = 0;
  for (const float v : x) {
    min = std::min(min, v);
    max = std::max(max, v);
    sum += v;
  }
  return {min, max - min, sum * kPart};
}

// The best of the tried grids and the codes nearest to it, once more.
template <Encoding kTo>
AffineFit refined_fit(const Values<32>& x, const Extent& e) {
  Values<32> z;
  std::ranges::transform(x, z.begin(), [&](float v) { return v - e.mean; });
  const float unit = 1.0f / e.spread;
  const float above_min = e.mean - e.min;
  AffineFit best;
  for (const RangeTry& range : kRangeSearch<kTo>.tries) {
    const float inverse = (range.high - range.low) * unit;
    const AffineFit tried = affine_fit<kTo>(z, inverse, above_min * inverse + range.low);
    if (tried.score() > best.score()) best = tried;
  }
  return affine_fit<kTo>(z, inverse_of(best.scale()), best.code_of_mean());
}

// The code of a value in a block as it is stored.
template <Encoding kTo>
float nearest_code(float value, float minimum, float inverse) {
  return code_between((value - minimum) * inverse, kRangeSearch<kTo>.top);
}

// The scale and the minimum with which the group has a smaller squared error than with the direct ones, if
// they are found.
template <Encoding kTo>
std::optional<Stored> better_range(const Values<32>& x) {
  constexpr float kTop = kRangeSearch<kTo>.top;
  if (!std::ranges::all_of(x, [](float v) { return std::isfinite(v); })) return std::nullopt;
  const Extent e = extent_of(x);
  const float direct = e.spread / kTop;
  if (e.spread < kTinyGroup || direct >= 65520.0f || std::fabs(e.min) >= 65520.0f) return std::nullopt;
  const float direct_inverse = 1.0f / direct;
  const float direct_error = squared_error(x, {f32_to_f16(direct), f32_to_f16(e.min)}, [&](float v) {
    return std::min(std::trunc((v - e.min) * direct_inverse + 0.5f), kTop);
  });

  const AffineFit fit = refined_fit<kTo>(x, e);
  Stored stored{.scale = f32_to_f16(fit.scale()), .minimum = 0};
  const float scale = f16_to_f32(stored.scale);
  stored.minimum = f32_to_f16(e.mean - scale * fit.code_of_mean());
  const float minimum = f16_to_f32(stored.minimum);
  const float inverse = inverse_of(scale);
  const float error =
      squared_error(x, stored, [&](float v) { return nearest_code<kTo>(v, minimum, inverse); });
  if (!(scale > 0.0f) || !(error < direct_error * kClearlyLess)) return std::nullopt;
  return stored;
}

template <Encoding kTo, typename Block>
EncodeCounts encode_groups(const float* values, void* blocks, size_t count) {
  const EncodeCounts counts = encode(kTo, values, blocks, count);
  const auto* from = reinterpret_cast<const std::byte*>(values);
  auto* to = static_cast<std::byte*>(blocks);
  for (size_t i = 0; i < count / 32; ++i) {
    Values<32> x;
    std::memcpy(x.data(), from + i * sizeof x, sizeof x);
    const std::optional<Stored> stored = better_range<kTo>(x);
    if (!stored) continue;
    const float minimum = f16_to_f32(stored->minimum);
    const float inverse = inverse_of(f16_to_f32(stored->scale));
    AffineCodes codes;
    std::ranges::transform(x, codes.begin(), [&](float v) {
      return static_cast<uint8_t>(nearest_code<kTo>(v, minimum, inverse));
    });
    Block block;
    block.d = stored->scale;
    block.m = stored->minimum;
    pack(codes, block);
    std::memcpy(to + i * sizeof block, &block, sizeof block);
  }
  return counts;
}

}  // namespace

EncodeCounts encode_scaled_affine(Encoding to, const float* values, void* blocks, size_t count) {
  if (to == Encoding::kQ4_1) return encode_groups<Encoding::kQ4_1, BlockQ4_1>(values, blocks, count);
  return encode_groups<Encoding::kQ5_1, BlockQ5_1>(values, blocks, count);
}

}  // namespace lobit::reference
