#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "lobit/base/check.h"
#include "lobit/dtype/block.h"
#include "lobit/dtype/half.h"
#include "lobit/dtype/reference.h"
#include "lobit/dtype/reference_internal.h"

namespace lobit::reference {
namespace {

constexpr uint16_t kHalfInf = 0x7C00;

constexpr bool overflowed(uint16_t half) {
  return (half & 0x7FFFu) == kHalfInf;
}

// The value of largest magnitude with its sign, the first one where several tie; +0 for zeros of either sign.
template <size_t N>
float peak(const Values<N>& x) {
  float largest = 0.0f;
  for (const float v : x) {
    if (std::fabs(v) > std::fabs(largest)) largest = v;
  }
  return largest;
}

struct Range {
  float min;
  float max;
  float spread() const { return max - min; }
};

// Of equal zeros the first one met stays, which decides the sign of a stored minimum.
template <size_t N>
Range range(const Values<N>& x) {
  Range r{std::numeric_limits<float>::max(), -std::numeric_limits<float>::max()};
  for (const float v : x) {
    if (v < r.min) r.min = v;
    if (v > r.max) r.max = v;
  }
  return r;
}

// The factor from values to codes: 1 / scale, and 0, which gives the codes of zeros, for a group without
// extent or with one too small.
float inverse_scale(float scale, float extent, EncodeCounts& counts) {
  if (extent == 0.0f) return 0.0f;
  if (extent < kTinyGroup) {
    ++counts.flushed;
    return 0.0f;
  }
  return 1.0f / scale;
}

// The callers have added the half that makes truncation round, so `value` >= 0.
uint8_t truncated(float value, int limit) {
  return static_cast<uint8_t>(std::min(limit, static_cast<int>(value)));
}

template <typename Block, size_t N>
Block make_block(uint16_t scale, const Codes<N>& codes) {
  Block block;
  block.d = scale;
  pack(codes, block);
  return block;
}

BlockQ8_0 encode_q8_0(const Values<32>& x, EncodeCounts& counts) {
  const float extent = std::fabs(peak(x));
  const float d = extent / 127.0f;
  const float inverse = inverse_scale(d, extent, counts);
  Codes<32> codes;
  for (size_t j = 0; j < 32; ++j) codes[j] = static_cast<int8_t>(std::round(x[j] * inverse));
  return make_block<BlockQ8_0>(f32_to_f16(d), codes);
}

// Q4_0 and Q5_0: the value of largest magnitude gets the lowest code, -kHalf.
template <typename Block, int kHalf>
Block encode_signed(const Values<32>& x, EncodeCounts& counts) {
  const float largest = peak(x);
  const float d = largest / static_cast<float>(-kHalf);
  const float inverse = inverse_scale(d, std::fabs(largest), counts);
  Codes<32> codes;
  for (size_t j = 0; j < 32; ++j) {
    const int stored = truncated(x[j] * inverse + (static_cast<float>(kHalf) + 0.5f), 2 * kHalf - 1);
    codes[j] = static_cast<int8_t>(stored - kHalf);
  }
  return make_block<Block>(f32_to_f16(d), codes);
}

// Q4_1 and Q5_1: codes count from the smallest value to kTop at the largest.
template <typename Block, int kTop>
Block encode_affine(const Values<32>& x, EncodeCounts& counts) {
  const Range r = range(x);
  const float d = r.spread() / static_cast<float>(kTop);
  const float inverse = inverse_scale(d, r.spread(), counts);
  AffineCodes codes;
  for (size_t j = 0; j < 32; ++j) codes[j] = truncated((x[j] - r.min) * inverse + 0.5f, kTop);
  Block block;
  block.d = f32_to_f16(d);
  block.m = f32_to_f16(r.min);
  pack(codes, block);
  return block;
}

BlockQ1_0 encode_q1_0(const Values<128>& x, EncodeCounts&) {
  float sum = 0.0f;  // in order: the last bit of the scale depends on it
  for (const float v : x) sum += std::fabs(v);
  BlockQ1_0 block;
  block.d = f32_to_f16(sum / 128.0f);
  for (size_t j = 0; j < 16; ++j) {
    unsigned bits = 0;
    for (size_t i = 0; i < 8; ++i) bits |= (x[8 * j + i] >= 0.0f ? 1u : 0u) << i;  // -0 counts as positive
    block.qs[j] = static_cast<uint8_t>(bits);
  }
  return block;
}

// Q2_0, TQ2_0, TQ1_0: the codes -1, 0, +1.
template <typename Block, size_t N>
Block encode_ternary(const Values<N>& x, EncodeCounts& counts) {
  const float d = std::fabs(peak(x));
  const float inverse = inverse_scale(d, d, counts);
  Codes<N> codes;
  for (size_t j = 0; j < N; ++j) codes[j] = static_cast<int8_t>(std::lround(x[j] * inverse));
  return make_block<Block>(f32_to_f16(d), codes);
}

template <typename Block>
constexpr bool kHasMinimum = requires(const Block& block) { block.m; };

// Whether codes are defined for the group: see EncodeCounts::unrepresentable.
template <typename Block, size_t N>
bool has_codes(const Values<N>& x) {
  if (!std::ranges::all_of(x, [](float v) { return std::isfinite(v); })) return false;
  return !kHasMinimum<Block> || std::isfinite(range(x).spread());
}

template <typename Block>
bool scale_overflowed(const Block& block) {
  if constexpr (kHasMinimum<Block>) {
    if (overflowed(block.m)) return true;
  }
  return overflowed(block.d);
}

template <typename Block, size_t N>
EncodeCounts encode_blocks(Block (*encode_block)(const Values<N>&, EncodeCounts&), const float* values,
                           void* blocks, size_t count) {
  EncodeCounts counts;
  const auto* from = reinterpret_cast<const std::byte*>(values);
  auto* to = static_cast<std::byte*>(blocks);
  for (size_t i = 0; i < count / N; ++i) {
    Values<N> x;
    std::memcpy(x.data(), from + i * sizeof x, sizeof x);
    const bool coded = has_codes<Block>(x);
    if (!coded) x.fill(0.0f);
    Block block = encode_block(x, counts);
    if (!coded) block.d = kHalfInf;
    if (scale_overflowed(block)) ++counts.unrepresentable;
    std::memcpy(to + i * sizeof block, &block, sizeof block);
  }
  return counts;
}

// F16 and BF16, whose Inf differ.
template <uint16_t (*kConvert)(float), uint16_t kInf>
EncodeCounts encode_halves(const float* values, void* halves, size_t count) {
  EncodeCounts counts;
  const auto* from = reinterpret_cast<const std::byte*>(values);
  auto* to = static_cast<std::byte*>(halves);
  for (size_t i = 0; i < count; ++i) {
    float value;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    const uint16_t half = kConvert(value);
    if ((half & 0x7FFFu) == kInf && std::isfinite(value)) ++counts.unrepresentable;
    std::memcpy(to + i * sizeof half, &half, sizeof half);
  }
  return counts;
}

}  // namespace

EncodeCounts encode(Encoding to, const float* values, void* blocks, size_t count) {
  LOBIT_DCHECK(traits(to).can_encode && count % traits(to).block_elements == 0);
  switch (to) {
    case Encoding::kF32:
      if (count > 0) std::memcpy(blocks, reinterpret_cast<const std::byte*>(values), count * sizeof(float));
      return {};
    case Encoding::kF16:
      return encode_halves<f32_to_f16, kHalfInf>(values, blocks, count);
    case Encoding::kBF16:
      return encode_halves<f32_to_bf16, 0x7F80>(values, blocks, count);
    case Encoding::kQ8_0:
      return encode_blocks(encode_q8_0, values, blocks, count);
    case Encoding::kQ4_0:
      return encode_blocks(encode_signed<BlockQ4_0, 8>, values, blocks, count);
    case Encoding::kQ4_1:
      return encode_blocks(encode_affine<BlockQ4_1, 15>, values, blocks, count);
    case Encoding::kQ5_0:
      return encode_blocks(encode_signed<BlockQ5_0, 16>, values, blocks, count);
    case Encoding::kQ5_1:
      return encode_blocks(encode_affine<BlockQ5_1, 31>, values, blocks, count);
    case Encoding::kQ2_0:
      return encode_blocks(encode_ternary<BlockQ2_0, 64>, values, blocks, count);
    case Encoding::kQ1_0:
      return encode_blocks(encode_q1_0, values, blocks, count);
    case Encoding::kTQ2_0:
      return encode_blocks(encode_ternary<BlockTQ2_0, 256>, values, blocks, count);
    case Encoding::kTQ1_0:
      return encode_blocks(encode_ternary<BlockTQ1_0, 256>, values, blocks, count);
    default:
      LOBIT_CHECK(false && "expected an encoding that can_encode");
      return {};
  }
}

}  // namespace lobit::reference
