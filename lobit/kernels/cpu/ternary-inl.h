// What the encoders of Q2_0, TQ2_0 and TQ1_0 share: the scales of sixteen groups at once, and the rule that
// gives a value its code. Included once per target.
//
// The reference rounds value * (1 / largest magnitude) to the nearest of -1, 0, +1, halves away from zero.
// That product grows with the value, so each group has a threshold: the largest magnitude that becomes 0. It
// is found exactly, as the bit pattern of the source type, and the codes then cost two integer comparisons a
// value, in 16-bit lanes for F16 and BF16.
#if defined(LOBIT_KERNELS_CPU_TERNARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOBIT_KERNELS_CPU_TERNARY_INL_H_
#undef LOBIT_KERNELS_CPU_TERNARY_INL_H_
#else
#define LOBIT_KERNELS_CPU_TERNARY_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "lobit/dtype/block.h"
#include "lobit/kernels/cpu/pattern-inl.h"
#include "lobit/kernels/cpu/scaled-inl.h"

#undef LOBIT_HAS_MASK_REGISTERS
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
#define LOBIT_HAS_MASK_REGISTERS 1
#else
#define LOBIT_HAS_MASK_REGISTERS 0
#endif

HWY_BEFORE_NAMESPACE();
namespace lobit::kernels::HWY_NAMESPACE {
#if LOBIT_HAS_VECTORS

// Groups whose scales are computed together: at most 16 lanes, and 4 KiB of values. The memory idles while
// codes are computed, for longer than the hardware's prefetching bridges if there is more of them.
inline constexpr size_t kMostTileGroups = 16;
template <Encoding kFrom, size_t kGroup>
inline constexpr size_t kTileGroups = std::min(kMostTileGroups, 4096 / (kGroup * sizeof(Pattern<kFrom>)));

struct TernaryTile {
  alignas(64) float peak[kMostTileGroups];  // the largest magnitude; NaN or Inf where the group has one
  alignas(64) int32_t threshold[kMostTileGroups];  // the largest pattern of a positive value that becomes 0
  alignas(64) uint16_t scale[kMostTileGroups];     // `peak` as F16
};

// Whether the codes that follow from the threshold are those of the reference.
inline bool is_plain(float peak) {
  return peak == 0.0f || (peak >= kTinyGroup && peak < 65520.0f);
}

// Four lanes whose maximum is that of v's 16- or 32-bit lanes, none of which is negative.
template <class D, class V>
HWY_INLINE hn::Vec<hn::FixedTag<int32_t, 4>> fold_to_four_lanes(D d, V v) {
  if constexpr (sizeof(hn::TFromD<D>) * hn::MaxLanes(D()) > 16) {
    const hn::Half<D> half;
    return fold_to_four_lanes(half, hn::Max(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    const hn::FixedTag<int32_t, 4> d4;
    const auto words = hn::BitCast(d4, v);
    if constexpr (sizeof(hn::TFromD<D>) == 4) return words;
    return hn::Max(hn::And(words, hn::Set(d4, 0xFFFF)), hn::ShiftRight<16>(words));
  }
}

// The largest magnitude pattern of a group, spread over four lanes.
template <Encoding kFrom, size_t kGroup>
HWY_INLINE hn::Vec<hn::FixedTag<int32_t, 4>> magnitude_lanes(const Pattern<kFrom>* values) {
  const hn::ScalableTag<Pattern<kFrom>> d;
  const auto mask = hn::Set(d, kLargestPattern<kFrom>);
  auto largest = hn::And(mask, hn::LoadU(d, values));
  for (size_t i = hn::Lanes(d); i < kGroup; i += hn::Lanes(d)) {
    largest = hn::Max(largest, hn::And(mask, hn::LoadU(d, values + i)));
  }
  return fold_to_four_lanes(d, largest);
}

// The largest magnitude pattern of each group -> magnitudes[groups]; 0 for the other groups of a tile.
template <Encoding kFrom, size_t kGroup>
HWY_INLINE void find_magnitudes(const Pattern<kFrom>* values, size_t groups, int32_t* magnitudes) {
  const hn::FixedTag<int32_t, 4> d4;
  size_t g = 0;
  for (; g + 4 <= groups; g += 4, values += 4 * kGroup) {
    const auto a = magnitude_lanes<kFrom, kGroup>(values);
    const auto b = magnitude_lanes<kFrom, kGroup>(values + kGroup);
    const auto c = magnitude_lanes<kFrom, kGroup>(values + 2 * kGroup);
    const auto d = magnitude_lanes<kFrom, kGroup>(values + 3 * kGroup);
    const auto ac = hn::Max(hn::InterleaveLower(d4, a, c), hn::InterleaveUpper(d4, a, c));
    const auto bd = hn::Max(hn::InterleaveLower(d4, b, d), hn::InterleaveUpper(d4, b, d));
    hn::Store(hn::Max(hn::InterleaveLower(d4, ac, bd), hn::InterleaveUpper(d4, ac, bd)), d4, magnitudes + g);
  }
  for (; g < groups; ++g, values += kGroup) {
    magnitudes[g] = hn::GetLane(hn::MaxOfLanes(d4, magnitude_lanes<kFrom, kGroup>(values)));
  }
  for (; g < kMostTileGroups; ++g) magnitudes[g] = 0;
}

template <Encoding kFrom>
HWY_INLINE VF value_of_pattern(VI pattern) {
  if constexpr (kFrom == Encoding::kF32) return hn::BitCast(DF(), pattern);
  if constexpr (kFrom == Encoding::kBF16) return hn::BitCast(DF(), hn::ShiftLeft<16>(pattern));
  return f16_to_f32(hn::DemoteTo(DU16(), pattern));
}

// The F32 of largest magnitude whose product with 1 / `peak` is below one half. It is within two units of
// half of the peak: the reciprocal is off by at most half a unit, and 0.5 - 2^-26 already rounds to 0.5.
HWY_INLINE VI threshold_of(VF peak) {
  const VF inverse = hn::Div(hn::Set(DF(), 1.0f), peak);
  const VF half = hn::Set(DF(), 0.5f);
  const VI middle = hn::BitCast(DI(), hn::Mul(peak, half));
  const VI below = hn::Sub(middle, hn::Set(DI(), 1));
  const auto rounds_up = [&](VI bits) {
    return hn::VecFromMask(DI(),
                           hn::RebindMask(DI(), hn::Ge(hn::Mul(hn::BitCast(DF(), bits), inverse), half)));
  };
  return hn::Add(middle, hn::Add(rounds_up(middle), rounds_up(below)));
}

// The same threshold among the values of the source type, which is a truncation.
template <Encoding kFrom>
HWY_INLINE VI pattern_not_above(VI bits) {
  if constexpr (kFrom == Encoding::kF32) return bits;
  if constexpr (kFrom == Encoding::kBF16) return hn::ShiftRight<16>(bits);
  const VI normal = hn::ShiftRight<13>(hn::Sub(bits, hn::Set(DI(), 112 << 23)));  // exponent bias 127 -> 15
  const VI subnormal = hn::ConvertTo(DI(), hn::Mul(hn::BitCast(DF(), bits), hn::Set(DF(), 0x1p24f)));
  return hn::IfThenElse(hn::Gt(bits, hn::Set(DI(), 0x387FFFFF)), normal, subnormal);  // from 2^-14 on
}

template <Encoding kFrom, size_t kGroup>
HWY_INLINE void fill_tile(const Pattern<kFrom>* values, size_t groups, TernaryTile& tile) {
  alignas(64) int32_t magnitudes[kMostTileGroups];
  find_magnitudes<kFrom, kGroup>(values, groups, magnitudes);
  for (size_t g = 0; g < kTileGroups<kFrom, kGroup>; g += kLanes) {
    const VI magnitude = hn::Load(DI(), magnitudes + g);
    const VF peak = value_of_pattern<kFrom>(magnitude);
    const VI threshold = pattern_not_above<kFrom>(threshold_of(peak));
    const auto zeros = hn::Eq(magnitude, hn::Zero(DI()));
    hn::Store(peak, DF(), tile.peak + g);
    hn::Store(hn::IfThenElse(zeros, hn::Set(DI(), kLargestPattern<kFrom>), threshold), DI(),
              tile.threshold + g);
    hn::Store(f32_to_f16(peak), DU16(), tile.scale + g);
  }
}

// -1, 0, +1 for the values at `x`.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V trits(D d, const hn::TFromD<D>* x, V threshold) {
  const V sign = hn::Set(d, std::numeric_limits<hn::TFromD<D>>::min());
  const V v = hn::LoadU(d, x);
  const V plus = hn::VecFromMask(d, hn::Gt(v, threshold));
  const V minus = hn::VecFromMask(d, hn::Gt(hn::Xor(v, sign), threshold));
  return hn::Sub(minus, plus);
}

#if LOBIT_HAS_MASK_REGISTERS

// AVX-512 compares into mask registers, and unsigned too: negative values are those from the sign bit up.
template <Encoding kFrom>
class Thresholds {
 public:
  HWY_INLINE explicit Thresholds(Pattern<kFrom> threshold)
      : plus_(hn::Set(D(), threshold)),
        minus_(hn::Xor(plus_, hn::Set(D(), std::numeric_limits<Pattern<kFrom>>::min()))) {}

  // The 16 or 32 values at x.
  HWY_INLINE __mmask16 plus16(const Pattern<kFrom>* x) const {
    if constexpr (kFrom == Encoding::kF32) return _mm512_cmpgt_epi32_mask(load(x), plus_.raw);
    return _mm256_cmpgt_epi16_mask(load_half(x), _mm512_castsi512_si256(plus_.raw));
  }
  HWY_INLINE __mmask16 minus16(const Pattern<kFrom>* x) const {
    if constexpr (kFrom == Encoding::kF32) return _mm512_cmpgt_epu32_mask(load(x), minus_.raw);
    return _mm256_cmpgt_epu16_mask(load_half(x), _mm512_castsi512_si256(minus_.raw));
  }
  HWY_INLINE __mmask32 plus32(const Pattern<kFrom>* x) const {
    if constexpr (kFrom == Encoding::kF32) return _mm512_kunpackw(plus16(x + 16), plus16(x));
    return _mm512_cmpgt_epi16_mask(load(x), plus_.raw);
  }
  HWY_INLINE __mmask32 minus32(const Pattern<kFrom>* x) const {
    if constexpr (kFrom == Encoding::kF32) return _mm512_kunpackw(minus16(x + 16), minus16(x));
    return _mm512_cmpgt_epu16_mask(load(x), minus_.raw);
  }

 private:
  using D = hn::ScalableTag<Pattern<kFrom>>;
  static HWY_INLINE __m512i load(const Pattern<kFrom>* x) { return _mm512_loadu_si512(x); }
  static HWY_INLINE __m256i load_half(const Pattern<kFrom>* x) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(x));
  }
  hn::Vec<D> plus_;
  hn::Vec<D> minus_;
};

// sums + weight where a value becomes +1, - weight where it becomes -1: 32 or 16 sums in bytes.
template <Encoding kFrom>
HWY_INLINE __m256i add_weighted(__m256i sums, const Thresholds<kFrom>& thresholds, const Pattern<kFrom>* x,
                                char weight) {
  const __m256i w = _mm256_set1_epi8(weight);
  sums = _mm256_mask_add_epi8(sums, thresholds.plus32(x), sums, w);
  return _mm256_mask_sub_epi8(sums, thresholds.minus32(x), sums, w);
}
template <Encoding kFrom>
HWY_INLINE __m128i add_weighted(__m128i sums, const Thresholds<kFrom>& thresholds, const Pattern<kFrom>* x,
                                char weight) {
  const __m128i w = _mm_set1_epi8(weight);
  sums = _mm_mask_add_epi8(sums, thresholds.plus16(x), sums, w);
  return _mm_mask_sub_epi8(sums, thresholds.minus16(x), sums, w);
}

#endif  // LOBIT_HAS_MASK_REGISTERS

// EncodeFn from `Codec`, which has
//   Block, kEncoding, kGroup
//   template <Encoding kFrom>
//   static void encode(const Pattern<kFrom>* x, Pattern<kFrom> threshold, uint16_t scale, uint8_t* block)
// for one group.
template <class Codec, Encoding kFrom>
EncodeCounts encode_ternary(const void* values, void* blocks, size_t count) {
  constexpr size_t kGroup = Codec::kGroup;
  const auto* x = static_cast<const Pattern<kFrom>*>(values);
  auto* out = static_cast<uint8_t*>(blocks);
  EncodeCounts counts;
  TernaryTile tile;
  for (size_t left = count / kGroup; left > 0;) {
    const size_t groups = std::min(left, kTileGroups<kFrom, kGroup>);
    fill_tile<kFrom, kGroup>(x, groups, tile);
    for (size_t g = 0; g < groups; ++g, x += kGroup, out += sizeof(typename Codec::Block)) {
      Codec::template encode<kFrom>(x, static_cast<Pattern<kFrom>>(tile.threshold[g]), tile.scale[g], out);
      if (HWY_UNLIKELY(!is_plain(tile.peak[g]))) {
        counts += encode_group_by_reference<kFrom, Codec::kEncoding, kGroup>(x, out);
      }
    }
    left -= groups;
  }
  return counts;
}

template <class Codec>
EncodeFn find_ternary_encoder(Encoding from, Encoding to) {
  if (to != Codec::kEncoding) return nullptr;
  if (from == Encoding::kF32) return encode_ternary<Codec, Encoding::kF32>;
  if (from == Encoding::kF16) return encode_ternary<Codec, Encoding::kF16>;
  return encode_ternary<Codec, Encoding::kBF16>;
}

#endif  // LOBIT_HAS_VECTORS
}  // namespace lobit::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
