// Q1_0: the signs of 128 values and their mean magnitude.
#include <algorithm>
#include <cstddef>

#include "lobit/dtype/block.h"
#include "lobit/kernels/cpu/families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/q1.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/decode-inl.h"
#include "lobit/kernels/cpu/pattern-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

constexpr size_t kGroup = 128;

// The mean is defined as a sum in the order of the values, so a lane sums a group and the groups of a tile
// advance together.
constexpr size_t kTileGroups = kLanes;

// Four consecutive values of group 0 of `x`, then of group 4, 8, ...: as many as fit `d`.
template <class D>
HWY_INLINE hn::Vec<D> load_quads(D d, const hn::TFromD<D>* x) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::LoadU(d, x);
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, load_quads(half, x + hn::Lanes(half) * kGroup), load_quads(half, x));
  }
}

template <Encoding kFrom>
HWY_INLINE VF load_magnitudes(const Pattern<kFrom>* x) {
  const hn::Rebind<Pattern<kFrom>, DF> d;
  const auto quads = load_quads(d, x);
  if constexpr (kFrom == Encoding::kF32) return hn::Abs(hn::BitCast(DF(), quads));
  if constexpr (kFrom == Encoding::kF16) return hn::Abs(f16_to_f32(hn::BitCast(DU16(), quads)));
  if constexpr (kFrom == Encoding::kBF16) return hn::Abs(bf16_to_f32(hn::BitCast(DU16(), quads)));
}

// Adds four values of each of kLanes groups, one after the other.
template <Encoding kFrom>
HWY_INLINE VF add_quads(VF sum, const Pattern<kFrom>* x) {
  const VF a = load_magnitudes<kFrom>(x);
  const VF b = load_magnitudes<kFrom>(x + kGroup);
  const VF c = load_magnitudes<kFrom>(x + 2 * kGroup);
  const VF d = load_magnitudes<kFrom>(x + 3 * kGroup);
  const VF ac_low = hn::InterleaveLower(DF(), a, c);
  const VF bd_low = hn::InterleaveLower(DF(), b, d);
  const VF ac_high = hn::InterleaveUpper(DF(), a, c);
  const VF bd_high = hn::InterleaveUpper(DF(), b, d);
  sum = hn::Add(sum, hn::InterleaveLower(DF(), ac_low, bd_low));
  sum = hn::Add(sum, hn::InterleaveUpper(DF(), ac_low, bd_low));
  sum = hn::Add(sum, hn::InterleaveLower(DF(), ac_high, bd_high));
  return hn::Add(sum, hn::InterleaveUpper(DF(), ac_high, bd_high));
}

// 64 bits, set where the value is not negative; -0 is not.
template <Encoding kFrom>
HWY_INLINE uint64_t sign_bits(const Pattern<kFrom>* x) {
  const hn::ScalableTag<Pattern<kFrom>> d;
  const auto sign = hn::Set(d, std::numeric_limits<Pattern<kFrom>>::min());
  uint64_t negative = 0;
  for (size_t i = 0; i < 64; i += hn::Lanes(d)) {
    negative |= mask_bits(d, hn::Gt(hn::Xor(hn::LoadU(d, x + i), sign), hn::Zero(d))) << i;
  }
  return ~negative;
}

// The mean magnitude of each group of a tile, in order.
template <Encoding kFrom>
HWY_INLINE VF tile_means(const Pattern<kFrom>* x) {
  VF sums = hn::Zero(DF());
  for (size_t i = 0; i < kGroup; i += 4) sums = add_quads<kFrom>(sums, x + i);
  return hn::Mul(sums, hn::Set(DF(), 1.0f / kGroup));
}

// The first `groups` of a whole tile of values.
template <Encoding kFrom>
HWY_INLINE EncodeCounts encode_tile(const Pattern<kFrom>* x, size_t groups, uint8_t* out) {
  // The signs come first because they take the values in the order of memory, which brings them into the
  // cache.
  for (size_t g = 0; g < groups; ++g) {
    const uint64_t bits[2] = {sign_bits<kFrom>(x + g * kGroup), sign_bits<kFrom>(x + g * kGroup + 64)};
    std::memcpy(out + g * sizeof(BlockQ1_0) + offsetof(BlockQ1_0, qs), bits, sizeof(bits));
  }
  alignas(64) float means[kTileGroups];
  alignas(64) uint16_t scales[kTileGroups];
  const VF tile = tile_means<kFrom>(x);
  hn::Store(tile, DF(), means);
  hn::Store(f32_to_f16(tile), DU16(), scales);
  EncodeCounts counts;
  for (size_t g = 0; g < groups; ++g, x += kGroup, out += sizeof(BlockQ1_0)) {
    std::memcpy(out + offsetof(BlockQ1_0, d), &scales[g], sizeof(scales[g]));
    if (HWY_UNLIKELY(!(means[g] < 65520.0f))) {  // rounds to Inf in F16, or is NaN
      counts += encode_group_by_reference<kFrom, Encoding::kQ1_0, kGroup>(x, out);
    }
  }
  return counts;
}

template <Encoding kFrom>
EncodeCounts encode_q1_0(const void* values, void* blocks, size_t count) {
  constexpr size_t kTile = kTileGroups * kGroup;
  Pattern<kFrom> padded[kTile];
  const auto* in = static_cast<const uint8_t*>(values);
  auto* out = static_cast<uint8_t*>(blocks);
  EncodeCounts counts;
  for (; count >= kTile; count -= kTile, in += sizeof(padded), out += kTileGroups * sizeof(BlockQ1_0)) {
    counts += encode_tile<kFrom>(reinterpret_cast<const Pattern<kFrom>*>(in), kTileGroups, out);
  }
  if (count > 0) {
    std::memset(padded, 0, sizeof(padded));
    std::memcpy(padded, in, count * sizeof(padded[0]));
    counts += encode_tile<kFrom>(padded, count / kGroup, out);
  }
  return counts;
}

struct Q1_0Decoder {
  using Block = BlockQ1_0;
  static constexpr size_t kValues = kGroup;

  template <bool kPastCaches>
  static HWY_INLINE void decode(const uint8_t* block, float* values) {
    alignas(64) static constexpr uint32_t kBits[16] = {1,   2,   4,    8,    16,   32,   64,    128,
                                                       256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
    const VF plus = broadcast_half(block + offsetof(BlockQ1_0, d));
    const VF minus = hn::Neg(plus);
    for (size_t j = 0; j < kGroup; j += 16) {
      uint16_t word;
      std::memcpy(&word, block + offsetof(BlockQ1_0, qs) + j / 8, sizeof(word));
      const VU bits = hn::Set(DU(), word);
      for (size_t k = 0; k < 16; k += kLanes) {
        const auto positive = hn::RebindMask(DF(), hn::TestBit(bits, hn::Load(DU(), kBits + k)));
        store_values<kPastCaches>(hn::IfThenElse(positive, plus, minus), values + j + k);
      }
    }
  }
};

EncodeFn find_encoder(Encoding from, Encoding to) {
  if (to != Encoding::kQ1_0) return nullptr;
  if (from == Encoding::kF32) return encode_q1_0<Encoding::kF32>;
  if (from == Encoding::kF16) return encode_q1_0<Encoding::kF16>;
  return encode_q1_0<Encoding::kBF16>;
}

DecodeFn find_decoder(Encoding from) {
  return from == Encoding::kQ1_0 ? decode_blocks<Q1_0Decoder> : nullptr;
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

LOBIT_EXPORT_ENCODER(q1)
LOBIT_EXPORT_DECODER(q1)

}  // namespace lobit::kernels
#endif  // HWY_ONCE
