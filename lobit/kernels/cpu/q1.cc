// Q1_0: the signs of 128 values and their mean magnitude.
#include <algorithm>
#include <cstddef>

#include "lobit/dtype/block.h"
#include "lobit/kernels/cpu/families.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lobit/kernels/cpu/q1.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "lobit/kernels/cpu/pattern-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
namespace {
#if LOBIT_HAS_VECTORS

constexpr size_t kGroup = 128;

// The mean is defined as a sum in the order of the values, so a lane sums a group and the groups of a tile
// advance together. Two vectors of sums hide the latency of the additions.
constexpr size_t kTileGroups = 2 * kLanes;

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

struct Tile {
  alignas(64) float mean[kTileGroups];
  alignas(64) uint16_t scale[kTileGroups];
};

template <Encoding kFrom>
HWY_INLINE void fill_tile(const Pattern<kFrom>* x, Tile& tile) {
  VF first = hn::Zero(DF());
  VF second = hn::Zero(DF());
  for (size_t i = 0; i < kGroup; i += 4) {
    first = add_quads<kFrom>(first, x + i);
    second = add_quads<kFrom>(second, x + kLanes * kGroup + i);
  }
  const VF factor = hn::Set(DF(), 1.0f / kGroup);
  first = hn::Mul(first, factor);
  second = hn::Mul(second, factor);
  hn::Store(first, DF(), tile.mean);
  hn::Store(second, DF(), tile.mean + kLanes);
  hn::Store(f32_to_f16(first), DU16(), tile.scale);
  hn::Store(f32_to_f16(second), DU16(), tile.scale + kLanes);
}

// The first `groups` of a whole tile of values.
template <Encoding kFrom>
HWY_INLINE EncodeCounts encode_tile(const Pattern<kFrom>* x, size_t groups, uint8_t* out) {
  Tile tile;
  EncodeCounts counts;
  fill_tile<kFrom>(x, tile);
  for (size_t g = 0; g < groups; ++g, x += kGroup, out += sizeof(BlockQ1_0)) {
    const uint64_t bits[2] = {sign_bits<kFrom>(x), sign_bits<kFrom>(x + 64)};
    std::memcpy(out + offsetof(BlockQ1_0, d), &tile.scale[g], sizeof(tile.scale[g]));
    std::memcpy(out + offsetof(BlockQ1_0, qs), bits, sizeof(bits));
    if (HWY_UNLIKELY(!(tile.mean[g] < 65520.0f))) {  // rounds to Inf in F16, or is NaN
      counts += encode_group_by_reference<kFrom, Encoding::kQ1_0, kGroup>(x, out);
    }
  }
  return counts;
}

template <Encoding kFrom>
EncodeCounts encode_q1_0(const void* values, void* blocks, size_t count) {
  constexpr size_t kTile = kTileGroups * kGroup;
  const auto* x = static_cast<const Pattern<kFrom>*>(values);
  auto* out = static_cast<uint8_t*>(blocks);
  EncodeCounts counts;
  for (; count >= kTile; count -= kTile, x += kTile, out += kTileGroups * sizeof(BlockQ1_0)) {
    counts += encode_tile<kFrom>(x, kTileGroups, out);
  }
  if (count > 0) {
    Pattern<kFrom> padded[kTile] = {};
    std::memcpy(padded, x, count * sizeof(padded[0]));
    counts += encode_tile<kFrom>(padded, count / kGroup, out);
  }
  return counts;
}

void decode_q1_0(const void* blocks, float* values, size_t count) {
  const auto* block = static_cast<const uint8_t*>(blocks);
  alignas(64) static constexpr uint32_t kBits[16] = {
      1u << 0, 1u << 1, 1u << 2,  1u << 3,  1u << 4,  1u << 5,  1u << 6,  1u << 7,
      1u << 8, 1u << 9, 1u << 10, 1u << 11, 1u << 12, 1u << 13, 1u << 14, 1u << 15};
  for (size_t i = 0; i < count; i += kGroup, block += sizeof(BlockQ1_0), values += kGroup) {
    const VF plus = hn::Set(DF(), load_value<Encoding::kF16>(block + offsetof(BlockQ1_0, d), 0));
    const VF minus = hn::Neg(plus);
    for (size_t j = 0; j < kGroup; j += 16) {
      uint16_t word;
      std::memcpy(&word, block + offsetof(BlockQ1_0, qs) + j / 8, sizeof(word));
      const VU bits = hn::Set(DU(), word);
      for (size_t k = 0; k < 16; k += kLanes) {
        const auto positive = hn::RebindMask(DF(), hn::TestBit(bits, hn::Load(DU(), kBits + k)));
        hn::StoreU(hn::IfThenElse(positive, plus, minus), DF(), values + j + k);
      }
    }
  }
}

EncodeFn find_encoder(Encoding from, Encoding to) {
  if (to != Encoding::kQ1_0) return nullptr;
  if (from == Encoding::kF32) return encode_q1_0<Encoding::kF32>;
  if (from == Encoding::kF16) return encode_q1_0<Encoding::kF16>;
  return encode_q1_0<Encoding::kBF16>;
}

DecodeFn find_decoder(Encoding from) {
  return from == Encoding::kQ1_0 ? decode_q1_0 : nullptr;
}

#else
EncodeFn find_encoder(Encoding, Encoding) {
  return nullptr;
}
DecodeFn find_decoder(Encoding) {
  return nullptr;
}
#endif  // LOBIT_HAS_VECTORS
}  // namespace
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace lobit::kernels {

HWY_EXPORT(find_encoder);
HWY_EXPORT(find_decoder);

EncodeFn q1_encoder(Encoding from, Encoding to) {
  return HWY_DYNAMIC_DISPATCH(find_encoder)(from, to);
}

DecodeFn q1_decoder(Encoding from) {
  return HWY_DYNAMIC_DISPATCH(find_decoder)(from);
}

}  // namespace lobit::kernels
#endif  // HWY_ONCE
